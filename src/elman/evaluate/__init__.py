"""Measures of a bot on conversations that it has not learned from."""

from elman.evaluate.measures import Report, evaluate

__all__ = ["Report", "evaluate"]
