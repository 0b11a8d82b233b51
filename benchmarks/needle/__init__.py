"""The needle benchmark: fine-tunes that disappoint for a known cause; does `diagnose` find the step?"""
