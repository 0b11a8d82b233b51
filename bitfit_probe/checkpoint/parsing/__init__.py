"""What strangers wrote, parsed within bounds: JSON, protocol buffers, regular expressions."""
