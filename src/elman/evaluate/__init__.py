"""Measures of a bot on conversations that it has not learned from."""

from elman.evaluate.measures import Measured, Report, evaluate

__all__ = ["Measured", "Report", "evaluate"]
