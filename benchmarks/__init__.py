"""Measurements, and what is made once: speed, real materials, the embedded sample."""
