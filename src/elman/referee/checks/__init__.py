"""The checks, one idea a file: each takes a `Subject` and gives the faults that it finds."""
