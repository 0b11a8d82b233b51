# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

# Seconds that the fuzzer spends on each target.
FUZZ_SECONDS ?= 3600
# What it tries: another set each time if 0.
FUZZ_SEED ?= 0
FUZZ_TARGETS := safetensors torch gguf onnx distributed zero any index directory \
	adapter_config config tokenizer training patch table differential

# Tests to run: folders, files, or a test in one. All, and the examples in the docstrings, if not given.
T ?= --doctest-modules bitfit_probe tests

.PHONY: demo test slow quick check families format bench docs fuzz healthy materials mutants needle samples update validate zoo clean

demo: $(VENV)/core.stamp ## install, diff the embedded sample, write the result and its page to demo-output/
	$(BIN)/bitfit-probe demo -o demo-output

test: $(VENV)/dev.stamp ## the tests but the slow ones, and the examples in the docstrings; `make test T=tests/align` for some
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto -m "not slow" $(T)

slow: $(VENV)/dev.stamp ## the tests that take many seconds each
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto -m slow tests

quick: $(VENV)/dev.stamp ## the tests of the rooms that a change touches, without the slow ones
	tests="$$($(BIN)/python tests/quick.py)"; test -z "$$tests" || \
		OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxfail=5 -m "not slow and not browser" $$tests

check: $(VENV)/dev.stamp ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(VENV)/mutants.stamp ## change lines of the core, and name the changes that no test notices; M=… for some
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(M)
	$(BIN)/mutmut results

bench: $(VENV)/dev.stamp ## measure against the naive script; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks.speed --write docs/benchmarks.md

fuzz: $(VENV)/fuzz.stamp ## FUZZ_SECONDS of each target; findings stay in .fuzz/
	set -e; for target in $(FUZZ_TARGETS); do \
		$(BIN)/python tests/fuzz/fuzz.py $$target --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED); done

docs: $(VENV)/dev.stamp ## rewrite the pages, and what commands print in them, that come from the code
	$(BIN)/python docs/make_findings.py
	$(BIN)/python docs/make_asks.py
	$(BIN)/python -m docs.commands
	$(BIN)/python -m docs.outputs

families: $(VENV)/dev.stamp ## compile the families' TOML files, which takes their reading off every start
	PYTHONPATH=tests $(BIN)/python -m architectures.tables --write

update: families docs samples ## every page, sample and table that is made from the code
	$(BIN)/python -m benchmarks.zoo --write docs/zoo.md
	PYTHONPATH=tests $(BIN)/python -m formats.table --write
	$(BIN)/python -m benchmarks.peft_sweep --write docs/adapters.md

zoo: $(VENV)/dev.stamp ## plant every fault and look-alike, say what check finds; writes docs/zoo.md
	$(BIN)/python -m benchmarks.zoo --write docs/zoo.md

validate: $(VENV)/dev.stamp ## fit the rule of the recommendation, judge it on tasks left out; writes docs/validation.md
	$(BIN)/python -m benchmarks.recommend.validate --write
	$(BIN)/python -m benchmarks.recommend.forecasts --write

needle: $(VENV)/dev.stamp ## fine-tunes that disappoint, diagnosed; TASKS=DIR makes runs; writes docs/needle.md
	$(BIN)/python -m benchmarks.needle $(if $(TASKS),--tasks $(TASKS))

healthy: $(VENV)/dev.stamp ## train the small healthy runs on which `check` must stay silent
	$(BIN)/python -m benchmarks.healthy

materials: $(VENV)/dev.stamp ## fetch the real checkpoints that some tests want
	$(BIN)/python -m benchmarks.materials

samples: $(VENV)/dev.stamp ## rebuild the sample results and reports in reports/
	COLUMNS=80 $(BIN)/bitfit-probe demo -o reports/sample
	$(BIN)/python -m benchmarks.reports

clean:
	rm -rf $(VENV) .fuzz demo-output build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/core.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[report]'
	touch $@

$(VENV)/mutants.stamp: $(VENV)/dev.stamp
	$(PIP) install -c constraints.txt -e '.[mutants]'
	touch $@

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp
	$(PIP) install -c constraints.txt -e '.[fuzz]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[all,dev]'
	touch $@
