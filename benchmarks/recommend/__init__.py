"""Which method wins where: runs of head, BitFit, LoRA and full fine-tuning, and what was measured before."""
