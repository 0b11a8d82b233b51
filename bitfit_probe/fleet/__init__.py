"""Many checkpoints of one base: judged by workers wherever they run, kept as they come, and summed up."""
