"""A run while it is being made, and after: its log as a page, in the terminal, for TensorBoard."""
