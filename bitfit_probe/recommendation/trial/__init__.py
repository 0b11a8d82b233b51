"""Short runs of BitFit, LoRA and full fine-tuning on the user's data, within a budget of minutes."""

from bitfit_probe.recommendation.trial.journal import JOURNAL
from bitfit_probe.recommendation.trial.session import run_trial

__all__ = ["JOURNAL", "run_trial"]
