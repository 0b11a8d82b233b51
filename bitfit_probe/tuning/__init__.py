"""Fine-tuning itself: training, watching it, and shipping what moved."""
