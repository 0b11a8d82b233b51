"""From which figures on a run counts as too short, sound, or gone wrong. Each with where it comes from."""

from __future__ import annotations

from bitfit_probe.measures.training_sufficiency import Limits

__all__ = ["LIMITS", "ODD_GAP", "STILL"]

LIMITS = Limits(
    # AdamW at a constant rate moves the fastest element 1.0–1.3 × lr × steps while its gradient keeps its
    # sign, and down to 0.3 times where batches disagree: a tiny BERT, 100 steps at 1e-4 and 1e-3
    # (tests/measures/test_adequacy.py).
    adam_factor=1.3,
    # Less than 100 steps at the lowest learning rate searched for BitFit, 1e-4 (Ben Zaken et al. 2022,
    # arXiv 2106.10199, appendix); reported runs use 5e-4 to 1e-2 and thousands of steps.
    least_bias_lr_steps=1e-4 * 100,
    # The same for all parameters: 100 steps at 1e-5, the lowest rate in the same paper.
    least_full_lr_steps=1e-5 * 100,
    # Fifty times less than its scheduled learning rates let the fastest element move: steps were skipped, or
    # gradients erased. A convention; the fastest element of the embedded sample, after 2,096 steps, moved 0.2
    # times as far.
    least_share_of_said=0.02,
    # Adam's step is at most lr·(1 − β₁)/√(1 − β₂) = 3.16·lr with its usual β (Kingma & Ba 2015, §2.1).
    most_share_of_said=3.2,
    # Weight decay alone gives cosine 1 between Δ and −b, training near 0 (the embedded sample: −0.10). A
    # convention: at 0.98, learning is at most a fifth of the movement.
    decayed_cosine=0.98,
    # No published bias or weight of a healthy model moved so far; a convention.
    most_max_abs_delta=100.0,
    # A training loss that ends above twice its start; a convention.
    most_loss_growth=2.0,
)

#: By how much the odd one's mean cosine lies below the others'. A convention, set beside a few runs on the
#: embedded sample: three seeds have mean cosines of 0.62 to 0.65 to each other and a run with other settings
#: 0.37 to them, which is odd; the farthest of four learning rates, each twice the one before, lies 0.19 below
#: the rest, which is not.
ODD_GAP = 0.2

#: A role has stopped once each of its moves is below this share of its path. A convention.
STILL = 0.01
