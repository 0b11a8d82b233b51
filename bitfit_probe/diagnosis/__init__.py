"""How good a tuned model is on labelled examples, what it lacks, and which step would help, measured.

`subject` runs the model, `interventions` are the steps that may help, `trying` decides among them; `quality`
and `telling` say how good the model is and where it fails.
"""

from bitfit_probe.diagnosis.diagnosing import diagnose_subject
from bitfit_probe.diagnosis.subject import Subject

__all__ = ["Subject", "diagnose_subject"]
