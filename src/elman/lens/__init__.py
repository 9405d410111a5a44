"""Looking at backpropagation through time at work."""
