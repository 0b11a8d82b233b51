"""Run one target under atheris, with the limits that everything that reads a stranger's files has to keep.

    python tests/fuzz/fuzz.py TARGET [--seconds N] [--work DIR]

An input may take 5 seconds and 512 MiB. One that takes more, ends in anything but a BitfitProbeError, makes
numpy warn, or comes to a wrong figure (target `differential`) is kept in DIR/TARGET-*, and the exit status is
not 0. The kept corpus and former findings are where it begins.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import os
import pkgutil
import resource
import sys
import warnings
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


#: What needs no torch is tried here; what readers would leave to torch is then refused.
sys.modules["torch"] = None  # type: ignore[assignment]

_MIB = 1 << 20
_MOST_MIB, _MOST_SECONDS = 512, 5

with atheris.instrument_imports(include=["bitfit_probe", "pickletools", "zipfile", "json"]):
    import mutators
    import targets

    from bitfit_probe import checkpoint, rules

    # Formats and rules are imported when one is first needed, which is too late for atheris.
    for package in (checkpoint, rules):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _limit_memory() -> None:
    """Let this process grow to 512 MiB; an allocation beyond that is a MemoryError."""
    mapped, resident = (int(number) for number in Path("/proc/self/statm").read_text().split()[:2])
    unused = (mapped - resident) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (unused + _MOST_MIB * _MIB,) * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--work", type=Path, default=Path(".fuzz"), help="where new inputs and findings go")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried; 0 takes another one each time")
    options = parser.parse_args()
    grown = options.work / f"{options.target}-corpus"
    grown.mkdir(parents=True, exist_ok=True)
    kept = [HERE / "corpus" / options.target, HERE / "found" / options.target]
    arguments = [
        sys.argv[0],
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-timeout={_MOST_SECONDS}",
        f"-rss_limit_mb={_MOST_MIB}",
        "-max_len=4096",
        f"-artifact_prefix={options.work / options.target}-",
        f"-dict={HERE / 'words.dict'}",
        "-print_final_stats=1",
        str(grown),
        *(str(folder) for folder in kept if folder.is_dir()),
    ]
    atexit.register(targets.clean_up)
    mutator = mutators.MUTATORS.get(options.target)
    # Or the first input would be blamed for what importing takes; pyarrow asks for pandas.
    for name in {"gguf": ("gguf",), "table": ("pyarrow.parquet", "pandas")}.get(options.target, ()):
        importlib.import_module(name)
    warnings.simplefilter("error")

    atheris.Setup(arguments, targets.TARGETS[options.target], custom_mutator=mutator)
    _limit_memory()
    atheris.Fuzz()


if __name__ == "__main__":
    main()
