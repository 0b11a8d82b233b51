"""What torch.save writes, read without torch: archives, pickles, state dicts, trainers' containers."""
