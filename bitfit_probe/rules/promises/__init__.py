"""What the files promise and the weights do not keep: a rule a kind of promise."""
