"""From evidence to a method: what is expected of each, what it costs, how to do it."""
