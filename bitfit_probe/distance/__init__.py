"""How far a task lies from what a model already knows."""
