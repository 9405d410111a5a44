"""The one error that people see: what is wrong, where, and what to do about it."""

import importlib.util

EXTRA_MODULES = {
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "evaluate": ("sacrebleu",),
    "parquet": ("pyarrow",),
    "tensorboard": ("tensorboard",),
}
"""The modules that each extra of pyproject.toml installs."""


class ElmanError(Exception):
    """A mistake in what was given to Elman. The command line prints it and exits 2."""


def require(extra: str, what: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        extra: its name in pyproject.toml.
        what: what needs it, as the subject of the message.

    Raises:
        ElmanError: where one is missing, with the command that installs it.
    """
    missing = [name for name in EXTRA_MODULES[extra] if not _installed(name)]
    if missing:
        raise missing_extra(extra, what, missing)


def missing_extra(extra: str, what: str, missing: list[str] | None = None) -> ElmanError:
    """Make the error that says how to install an extra; `missing` are the modules it lacks."""
    names = [name.replace("_", "-") for name in missing or EXTRA_MODULES[extra]]
    return ElmanError(f"{what} needs {' and '.join(names)}: pip install 'elman[{extra}]'")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
