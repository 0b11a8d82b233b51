"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code: how long an example takes is measured in benchmarks/.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

#: What wrote the recorded files runs where its libraries are, not here.
collect_ignore_glob = ["formats/recorded/make_*.py"]
