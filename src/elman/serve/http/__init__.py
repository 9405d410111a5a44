"""Connections, who may ask, and how an answer is sent."""
