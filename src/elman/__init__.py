"""Elman turns conversations into a small, private chatbot: a recurrent network trained by
backpropagation through time.

The public names are listed in `__init__.pyi`, for type checkers and for this module alike. Each is
imported when it is first used, so that `import elman` is quick.
"""

import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from elman.errors import telling_where_torch_is_missing

__version__ = "0.1.0"

_STUB = Path(__file__).with_suffix(".pyi").read_text("utf-8")
_HOMES = {name: home for home, name in re.findall(r"^from (\S+) import (\w+)", _STUB, re.M)}

_RENAMED = {"Sampling": "SamplingParams"}
"""Names of the release before, by the name that each has now."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(
            f"elman.{name} is called {_RENAMED[name]} now", DeprecationWarning, stacklevel=2
        )
        name = _RENAMED[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    home = _HOMES[name]
    with telling_where_torch_is_missing():
        if home == "elman":
            return import_module(f"elman.{name}")
        return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
