"""Corpora on disk: tokens in mapped files, made by many processes, larger than memory."""
