"""What can be asked: one file for each way, which parses, resolves, submits and renders."""
