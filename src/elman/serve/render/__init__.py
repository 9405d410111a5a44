"""What is answered, whole or as a stream."""
