"""What the server keeps in the store beside messages."""
