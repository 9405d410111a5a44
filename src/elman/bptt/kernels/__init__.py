"""Compiled time loops behind the signature of the reference."""
