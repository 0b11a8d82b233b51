"""The needle benchmark: fine-tunes that disappoint for a known cause; whether the right step is found."""
