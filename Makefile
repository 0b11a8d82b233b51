# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

# Seconds that the fuzzer spends on each reader.
FUZZ_SECONDS ?= 3600

.PHONY: demo test check format bench fuzz materials samples clean

demo: $(VENV)/core.stamp ## install, diff the embedded sample, write the result to demo-output/
	$(BIN)/bitfit-probe demo -o demo-output

test: $(VENV)/dev.stamp ## all tests, and the examples in the docstrings
	$(BIN)/pytest --doctest-modules bitfit_probe tests

check: $(VENV)/dev.stamp ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp ## measure against the naive script; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks.speed --write docs/benchmarks.md

fuzz: $(VENV)/fuzz.stamp ## FUZZ_SECONDS of each reader; findings stay in .fuzz/
	set -e; for target in safetensors torch gguf onnx distributed any index directory; do \
		$(BIN)/python tests/fuzz/fuzz.py $$target --seconds $(FUZZ_SECONDS); done

materials: $(VENV)/dev.stamp ## fetch the real checkpoints that some tests want
	$(BIN)/python -m benchmarks.materials

samples: $(VENV)/core.stamp ## rebuild the sample results in reports/
	$(BIN)/bitfit-probe demo -o reports/sample

clean:
	rm -rf $(VENV) .fuzz demo-output build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/core.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp
	$(PIP) install -c constraints.txt -e '.[fuzz]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[all,dev]'
	touch $@
