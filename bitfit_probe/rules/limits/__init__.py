"""BP6xx, what the method cannot do here."""
