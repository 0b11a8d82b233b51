"""BP202."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.wording import join_names, plural

__all__ = ["gradient_cut"]


#: Roles of what is trained alone on purpose.
_TRAINED_ALONE = frozenset({"projector", "projection"})


@rule("BP202", "gradient-cut", "error", catalogue=(3,))
def gradient_cut(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Modules outside the layers trained, but nothing inside any layer did.

    What it means
    -------------
    No gradient reached the layers. Mostly it is gradient checkpointing over frozen embeddings: the
    re-entrant kind gives blocks no gradient when their input needs none.

    Why it matters
    --------------
    The model is a frozen encoder with a trained rim; the layers that were to adapt are those of the base.

    How it is recognised
    --------------------
    No tensor with a layer number moved, while norms, poolers or projections outside the layers did. It is a
    warning where only the pooler moved, which may be a probe on purpose. A run in which only an embedding
    table moved (new tokens, prompt tuning), or only a projector between two models or a module behind the
    body (LLaVA's first stage, a Dense of sentence-transformers), is left alone.

    What to do
    ----------
    Call `model.enable_input_require_grads()`, or checkpoint with `use_reentrant=False`, and look at the
    gradient norm of a parameter in the first layer before training on.

    References
    ----------
    locuslab/open-unlearning#178, microsoft/LoRA#120, huggingface/peft#137
    """
    rows = body(pair)
    inside = [row for row in rows if row.info.layer is not None]
    outside = moved(row for row in rows if row.info.layer is None)
    if not inside or moved(inside):
        return
    if all(row.info.kind == "embedding" or row.info.role in _TRAINED_ALONE for row in outside):
        return
    layers = {(row.info.stack, row.info.layer) for row in inside}
    names = [row.name for row in outside]
    yield this.finding(
        f"Nothing inside the {plural(len(layers), 'layer')} moved, though {plural(len(names), 'tensor')} "
        f"outside did ({join_names(names)}): no gradient reached the layers.",
        severity="warning" if {row.info.role for row in outside} == {"pooler"} else "error",
        subjects=tuple(names),
        evidence=(
            Evidence("moved_tensors", 0, "tensors", about="inside the layers"),
            Evidence("moved_tensors", len(names), "tensors", about="outside the layers"),
        ),
    )
