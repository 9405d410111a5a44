"""Private data in messages: finds it, counts it and puts a placeholder in its place."""

from elman.data.redact.redactor import KINDS, PLACEHOLDERS, Redactor

__all__ = ["KINDS", "PLACEHOLDERS", "Redactor"]
