"""Recommendations made by hand, of every shape that renderers meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bitfit_probe.records import Check, Evidence, Finding
from bitfit_probe.records.distance import Distance, Forecast, Reach
from bitfit_probe.records.recommendation import (
    Advice,
    Cost,
    Expected,
    LoraAdvice,
    Priced,
    Recommendation,
    Recommended,
    Trial,
    TrialResult,
    TrialRun,
)

SNIPPET = """import transformers

base = 'models/minilm'
model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=6)
for name, parameter in model.base_model.named_parameters():
    parameter.requires_grad = name.endswith("bias")
"""
#: Names that want to be obeyed by terminals, pages, Markdown and shells.
EVIL = "\x1b[31m</pre><script>alert(1)</script>```\n## x|y\u202eevil"


def cost(method: str, trained: int) -> Cost:
    return Cost(method, trained, 12 * trained, 4 * trained)


#: Of MiniLM with six classes: 12 layers of 384.
COSTS = (cost("bitfit", 66_438), cost("lora", 1_332_486), cost("full", 33_362_310))
EXPECTED = (
    Expected("bitfit", 0.4, (0.0, 1.1), "runs"),
    Expected("lora", 0.1, (0.0, 0.6), "runs"),
    Expected("full", 0.5, (0.0, 1.4), "runs"),
)
ADVICE = Advice(
    "bitfit",
    (5e-4, 1e-2),
    "bitfit-probe tune models/minilm --data data/questions.csv --text text --label label --method bitfit "
    "--search --out tuned-bitfit",
    SNIPPET,
    roles=("m2", "q", "LN2"),
)
BITFIT = Recommendation(
    "bitfit",
    False,
    0.5,
    None,
    (Priced(0.0, "lora"), Priced(0.5, "bitfit"), Priced(2.0, "bitfit")),
    EXPECTED,
    ("A linear probe on the frozen model scores 0.914 [0.88, 0.94]: most of the task is already there.",),
    ("With 4,000 examples and more LoRA won 5 of 8 comparable tasks.",),
    ("A trial of 10 minutes (--trial 10) would replace all of this by short runs on your own data.",),
    ADVICE,
    COSTS,
)
LORA = replace(
    BITFIT,
    method="lora",
    calibrated=True,
    expected=(
        Expected("bitfit", 3.1, (1.6, 4.9), "runs"),
        Expected("lora", 0.0, (0.0, 0.5), "runs"),
        Expected("full", 0.6, (0.0, 1.4), "runs"),
    ),
    advice=Advice(
        "lora",
        (1e-4, 1e-3),
        "bitfit-probe tune models/minilm --data data/questions.csv --method lora --lora-r 4 --search "
        "--out tuned-lora",
        SNIPPET,
        lora=LoraAdvice(
            4,
            ("attention.output.dense", "attention.self.query", "intermediate.dense", "output.dense"),
            "rank 4 is the smallest that is forecast within a point of the best rank; all linear layers of "
            "the body are adapted, since nothing measured tells them apart.",
        ),
    ),
)
UNDECIDED = replace(
    BITFIT,
    method="undecided",
    expected=(
        Expected("bitfit", 1.4, (0.2, 3.0), "out of range"),
        Expected("lora", 0.3, (0.0, 1.2), "out of range"),
        Expected("full", 2.6, (1.1, 4.0), "out of range"),
    ),
    advice=replace(LORA.advice),
)
#: T5's shape of a case: nothing to train by BitFit.
NO_BIASES = replace(
    LORA,
    expected=LORA.expected[1:],
    costs=COSTS[1:],
    against=(),
    because=("The architecture has no biases, so that BitFit has nothing to train.",),
)
FIRST = replace(
    BITFIT,
    first=(
        "The tuned checkpoint moved by no more than 3e-5 (BP203): train again at 5e-4 or more before "
        "blaming BitFit.",
    ),
)
FULL = replace(
    LORA,
    method="full",
    advice=replace(LORA.advice, method="full", lora=None, warnings=("It moves every weight (forgetting).",)),
)
TRIAL = Trial(
    10.0,
    583.2,
    900.0,
    300,
    400,
    tuple(
        TrialRun(method, rate, fold, 300, 100, 0.8, 0.5, 20.0)
        for method, rate in (("bitfit", 3e-3), ("lora", 5e-4), ("full", 5e-5))
        for fold in range(2)
    ),
    (
        TrialResult("bitfit", 3e-3, 0.86, (0.82, 0.9), 1.0, (-1.0, 3.0), True, False),
        TrialResult("lora", 5e-4, 0.87, (0.83, 0.91), 0.0, (0.0, 0.0), True, False),
        TrialResult("full", 5e-5, 0.85, (0.81, 0.89), 2.0, (0.0, 4.0), True, True),
    ),
    False,
    ("Full fine-tuning was best at its lowest rate, so a lower one may be better still.",),
)
DISTANCE = Distance(
    "models/minilm",
    "data/questions.csv",
    300,
    6,
    (Evidence("linear_probe", 0.914, "accuracy", (0.88, 0.94), "last layer", "five folds", "near"),),
    reach=Reach(
        (Forecast("head", 0.7, (0.6, 0.8), 0.1, 1.0, 0.0),), 0.2, (("m2", 1.0),), ((0, 1.0),), (), 4, 8
    ),
    notes=("3 of 303 rows lack a text or label and were left out",),
)
CHECK = Check((Finding("BP203", "too-small", "warning", "Nothing but 3e-5."),), ("BP203",), ())


def recommended(found: Recommendation = BITFIT, **more: Any) -> Recommended:
    """With the evidence that came before it."""
    return Recommended(found, DISTANCE, (Evidence("biases", 197, "tensors"),), **more)


def evil() -> Recommended:
    """Hostile text wherever a file or a person can put some."""
    advice = replace(
        LORA.advice,
        command=f"bitfit-probe tune '{EVIL}' --data '{EVIL}'",
        snippet=f"base = 1\n# {EVIL}",
        lora=LoraAdvice(4, (EVIL,), EVIL),
        warnings=(EVIL,),
        roles=(EVIL,),
    )
    words = (EVIL,)
    found = replace(LORA, because=words, against=words, would_change=words, first=words, advice=advice)
    distance = replace(DISTANCE, model=EVIL, data=EVIL, notes=words)
    return Recommended(found, distance, (Evidence(EVIL, EVIL, about=EVIL),), replace(TRIAL, notes=words))
