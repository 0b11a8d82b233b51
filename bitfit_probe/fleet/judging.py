"""What a worker does: one checkpoint beside the base that it holds. Paths come in, a row goes out.

Both are made of what JSON is made of, so that a worker of another version can be told from a broken one.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bitfit_probe.api.compare import as_diff
from bitfit_probe.errors import BitfitProbeError, OutOfMemoryError, RefusedError, RemoteError
from bitfit_probe.measures.delta_sketch import bias_sketch
from bitfit_probe.measures.groups import biases
from bitfit_probe.measures.training_sufficiency import adequacy
from bitfit_probe.pair import Pair, Reading
from bitfit_probe.records import Check, Comparison
from bitfit_probe.records.failures import Failure
from bitfit_probe.records.fleet import FleetRow, Found, Standing
from bitfit_probe.records.options import FleetOptions
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering import headline
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text, report_json
from bitfit_probe.rendering.findings_json import check_document
from bitfit_probe.rules import check
from bitfit_probe.version import __version__

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["examples_of", "judge"]

_held = threading.local()


def judge(base: str, tuned: str, options: dict[str, Any]) -> dict[str, Any]:
    """Judge one checkpoint.

    Parameters
    ----------
    base, tuned
        As for `diff`.
    options
        The fields of a `FleetOptions`; those that say how work is shared out are not read.

    Returns
    -------
    dict
        ``version``, and either ``base_error`` (a `Failure` of the base) or ``row`` (a `FleetRow`),
        ``document`` (the checkpoint's own JSON) and ``passing`` (whether it failed in a way that may pass).
    """
    start = time.monotonic()
    try:
        pair = _beside_base(base, tuned, options)
        row, document, error = _judged(pair, options)
        pair.base.check_unchanged()
    except BitfitProbeError as problem:  # the tuned side's are in the row
        return {"version": __version__, "base_error": asdict(Failure.of(base, problem))}
    row = replace(row, seconds=round(time.monotonic() - start, 3))
    passing = error is not None and _may_pass(error)
    return {"version": __version__, "row": asdict(row), "document": document, "passing": passing}


def _beside_base(base: str, tuned: str, options: dict[str, Any]) -> Pair:
    """The pair, beside the base that this worker has open."""
    asked = json.dumps([base, options], sort_keys=True, default=str)
    if getattr(_held, "asked", None) == asked:
        found: Pair = _held.pair.beside(tuned)
    else:
        given = FleetOptions(**options)
        reading = Reading(given.state_dict_key, given.biases_only, given.trust_checksums)
        found = Pair.open(base, tuned, reading, data=examples_of(given))
    # Of the last pair only the base is of use to the next; its tuned side has no files to hold any more.
    _held.asked, _held.pair = asked, found
    return found


def examples_of(options: FleetOptions) -> TaskData | None:
    """The labelled examples that were named; raises DataError."""
    if options.data is None:
        return None
    from bitfit_probe.data import Columns, read_examples

    return read_examples(options.data, Columns(options.text, options.pair, options.label))


def _judged(pair: Pair, options: dict[str, Any]) -> tuple[FleetRow, str, BitfitProbeError | None]:
    """The row, the checkpoint's own document, and why it could not be judged."""
    error = _error(pair)
    found = _findings(pair, options)
    row = FleetRow(
        str(pair.path),
        "judged" if error is None else "failed",
        named_base=_named_base(pair),
        findings=tuple(Found(finding.code, finding.severity) for finding in found.findings),
        error=None if error is None else Failure.of(pair.path, error),
    )
    document: dict[str, Any] = {"format_version": FORMAT_VERSION, "check": check_document(found)}
    if error is not None:
        return row, json_text({**document, "error": asdict(Failure.of(pair.path, error))}), error
    measured = Measured(adequacy=adequacy(pair.comparison, pair.trainer_state))
    document["diff"] = report_json(Report(as_diff([pair]), (measured,)))
    return _with_figures(row, pair), json_text(document), None


def _error(pair: Pair) -> BitfitProbeError | None:
    """Why the two can't be compared; also where the system or the memory gave out meanwhile."""
    try:
        return pair.error
    except OSError as error:
        why = error.strerror or type(error).__name__
        refused = RefusedError(f"the system says: {why}", advice="check the disk", path=pair.path)
        refused.__cause__ = error
        return refused
    except MemoryError:
        return OutOfMemoryError("not enough memory", advice="take fewer --jobs", path=pair.path)


def _findings(pair: Pair, options: dict[str, Any]) -> Check:
    try:
        return check([pair], select=options["select"], ignore=options["ignore"])
    except (BitfitProbeError, OSError, MemoryError):  # what can't be compared, and no rule knows why
        return Check((), (), ())


def _may_pass(error: BitfitProbeError) -> bool:
    """Whether it is worth another try: the system's or a server's fault, never the file's."""
    return type(error) in (RefusedError, RemoteError)


def _with_figures(row: FleetRow, pair: Pair) -> FleetRow:
    comparison = pair.comparison
    summary = comparison.summary
    sketch = bias_sketch(pair)
    return replace(
        row,
        nbytes=sum(tensor.nbytes for tensor in pair.tuned.tensors.values()),
        verdict=comparison.verdict,
        headline=headline(comparison),
        coverage=comparison.coverage.share,
        changed_biases=summary.changed_biases,
        biases=summary.biases,
        changed_tensors=summary.changed_tensors,
        compared_tensors=summary.compared_tensors,
        nonfinite_tensors=summary.nonfinite_tensors,
        relative_l2=summary.relative_l2,
        bias_change=_bias_change(comparison),
        base_is=_standing(comparison, row.findings),
        contents=_contents(comparison),
        direction=tuple(float(f"{value:.4g}") for value in sketch) if sketch.any() else (),
    )


def _bias_change(comparison: Comparison) -> float | None:
    known = [row.l2_delta for row in biases(comparison) if row.l2_delta is not None]
    return math.hypot(*known) if known else None


def _standing(comparison: Comparison, findings: tuple[Found, ...]) -> Standing:
    if comparison.summary.unrelated or any(finding.code == "BP107" for finding in findings):
        return "another"
    return "unknown" if comparison.summary.base_left is None else "this"


def _named_base(pair: Pair) -> str | None:
    """What the checkpoint's own files say that it was tuned from."""
    adapter = pair.read_json("adapter_config.json") or {}
    config = pair.read_json("config.json") or {}
    names = (adapter.get("base_model_name_or_path"), config.get("_name_or_path"))
    return next((name for name in names if isinstance(name, str) and name), None)


def _contents(comparison: Comparison) -> str:
    """A digest of every figure of every tensor: two copies have the same, whatever they are stored in."""
    seen = hashlib.sha256()
    for line in _figures(comparison):
        seen.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return seen.hexdigest()


def _figures(comparison: Comparison) -> Iterator[str]:
    for row in comparison.tensors:
        figures = row.l1_delta, row.l2_delta, row.max_abs_delta, row.mean_shift, row.cosine, row.sign_flips
        yield repr((row.name, row.part, row.tuned_dtype, row.identical, row.nonfinite_tuned, *figures))
    for item in comparison.unmatched_tuned:
        yield repr((item.name, item.shape))
