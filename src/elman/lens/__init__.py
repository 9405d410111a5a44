"""Looking at backpropagation through time at work."""

from elman.lens.lens import LayerFlow, Lens

__all__ = ["LayerFlow", "Lens"]
