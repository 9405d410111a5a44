"""The one error that people see: what is wrong, where, and what to do about it."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

EXTRA_MODULES = {
    "train": ("torch", "tokenizers", "chitchat_dataset"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "evaluate": ("sacrebleu",),
    "parquet": ("pyarrow",),
    "datasets": ("pyarrow",),
    "postgres": ("psycopg", "sqlalchemy", "alembic"),
    "tensorboard": ("tensorboard",),
    "hub": ("huggingface_hub",),
    "onnx": ("onnx",),
}
"""The modules that each extra of pyproject.toml installs."""


class ElmanError(Exception):
    """A mistake in what was given to Elman. The command line prints it and exits 2."""


class MissingExtraError(ElmanError, ImportError):
    """Modules of an extra that are not installed; the message says what installs them."""


@contextmanager
def telling_where_torch_is_missing() -> Iterator[None]:
    """Let every import of torch within say how to install it, where it is not installed.

    Raises:
        MissingExtraError: in the place of Python's own error.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise missing_extra("train", "this", ["torch"]) from None


def require(extra: str, what: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        extra: its name in pyproject.toml.
        what: what needs it, as the subject of the message.

    Raises:
        MissingExtraError: where one is missing, with the command that installs it.
    """
    missing = [name for name in EXTRA_MODULES[extra] if not _installed(name)]
    if missing:
        raise missing_extra(extra, what, missing)


def missing_extra(extra: str, what: str, missing: list[str] | None = None) -> MissingExtraError:
    """Make the error that says how to install an extra; `missing` are the modules it lacks."""
    names = [name.replace("_", "-") for name in missing or EXTRA_MODULES[extra]]
    return MissingExtraError(f"{what} needs {' and '.join(names)}: pip install 'elman[{extra}]'")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
