"""BP112."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.files.ranks_diverged import rank_of
from bitfit_probe.rules.interface import CannotTell, Case, Rule, rule
from bitfit_probe.rules.looking import listed, plural
from bitfit_probe.rules.samples import differing

__all__ = ["loader_changed"]

#: Two steps of one run differ in nearly all that was trained; a loader leaves most of that as it was.
MOST_KEPT = 0.5


@rule("BP112", "loader-changed-weights", "error", catalogue=(50,))
def loader_changed(case: Case, this: Rule) -> Iterator[Finding]:
    """A second copy of the same weights, such as a dump of the running model, differs from the file.

    What it means
    -------------
    Whatever loaded the file put other values in place: it initialised again what it did not recognise, or
    converted a layout, without naming a missing key.

    Why it matters
    --------------
    The served model is not the one in the file, and nothing says so.

    How it is recognised
    --------------------
    Give the file and the dump of the live model (`torch.save(model.state_dict(), …)`) as two tuned
    checkpoints. Most tensors that training moved are the same in both, but a few tensors differ.

    What to do
    ----------
    Load with the version of the library that saved it, compare the live state again, and report it to the
    loader's authors.

    References
    ----------
    huggingface/transformers#46620, huggingface/transformers#48154
    """
    others = [other for other in case.others if rank_of(other) is None]
    if not others:
        raise CannotTell("only one copy of the tuned weights was given")
    trained = {row.tuned_name for row in case.comparison.tensors if row.moved}
    for other in others:
        if other.tensors.keys() != case.tuned.tensors.keys():
            continue
        names = differing(case.tuned, other)
        kept = trained - set(names)
        if not names or not trained or len(kept) < MOST_KEPT * len(trained):
            continue
        yield this.finding(
            f"{plural(len(names), 'tensor')} in {other.path.name} differ from the file, though the other "
            f"{len(kept)} trained ones agree: {listed(names)}. A loader changed them.",
            subjects=tuple(names),
            evidence=(
                Evidence("differing_tensors", len(names), "tensors"),
                Evidence("agreeing_trained_tensors", len(kept), "tensors"),
            ),
        )
