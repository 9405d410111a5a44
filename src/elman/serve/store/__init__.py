"""What the server keeps beside messages, and states at hand."""
