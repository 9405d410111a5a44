"""The one error that people see: what is wrong, where, and what to do about it."""


class ElmanError(Exception):
    """A mistake in what was given to Elman. The command line prints it and exits 2."""
