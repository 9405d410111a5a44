"""From what was named to layers: a class is made in the ways that its constructor takes."""

import importlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from elman.bptt import Cell
from elman.errors import ElmanError
from elman.referee.report import in_one_line

INPUTS, HIDDEN = 3, 4
"""The sizes that a class is made with."""


@dataclass(frozen=True)
class Build:
    """A layer and how it was made.

    Args:
        layer: it.
        source: lines of Python that make `layer`.
        name: how it was made, in short; empty where there is one way.
        failed: what was raised instead, and `layer` is None.
    """

    layer: Any
    source: tuple[str, ...]
    name: str = ""
    failed: str = ""


def builds_of(given: Any, source: Sequence[str] = ()) -> list[Build]:
    """Make the layers that are checked.

    Args:
        given: a layer, or a class of them.
        source: lines of Python that lead to `given`: an import, and its name last.

    Raises:
        ElmanError: where a class cannot be made.
    """
    imports, name = list(source[:-1]), source[-1] if source else ""
    if not isinstance(given, type):
        if not source:
            return [Build(given, ("import torch  # layer is the one that was checked",))]
        made = f"layer = {name}" + ".double().eval()" * isinstance(given, nn.Module)
        return [Build(given, ("; ".join(["import torch", *imports]), made))]
    name = name or given.__name__
    options = [{}, *_options(given)]
    builds = []
    for number, option in enumerate(options):
        named = [f"{key}={value}" for key, value in option.items()]
        for positional in ((INPUTS, HIDDEN), ()):
            torch.manual_seed(0)
            try:
                layer = given(*positional, **option)
            except Exception as error:  # whatever a stranger's code raises
                said = error
                continue
            code = f"{name}({', '.join([*map(str, positional), *named])})"
            lines = (
                "; ".join(["import torch", *imports]),
                (f"torch.manual_seed(0); layer = {code}.double().eval()"),
            )
            builds.append(Build(layer, lines, code if len(options) > 1 else ""))
            break
        else:
            why = in_one_line(said)[:200]
            if number == 0:
                tried = f"{name}({INPUTS}, {HIDDEN}) or {name}()"
                raise ElmanError(
                    f"{name} cannot be made by {tried} ({why}): name a function without arguments "
                    "that returns the layer"
                )
            builds.append(Build(None, (), f"{name}({', '.join(named)})", why))
    return builds


def _options(kind: type) -> list[dict[str, Any]]:
    """List further ways to make a class, as far as its constructor names the arguments."""
    if issubclass(kind, Cell | nn.RNNCellBase):
        return []
    names = _arguments(kind)
    found: list[dict[str, Any]] = []
    if "num_layers" in names:
        found.append({"num_layers": 3} | ({"dropout": 0.5} if "dropout" in names else {}))
    if "batch_first" in names:
        found.append({"batch_first": True})
    return found


def _arguments(kind: type) -> set[str]:
    """List the arguments of a constructor; torch's layers name theirs in the base class."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            names |= {p.name for p in parameters}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return names


def load(target: str) -> tuple[Any, list[str]]:
    """Import what is named by `module:name` or `file.py:name`.

    Returns:
        A layer or a class, and the lines of Python that lead to it.

    Raises:
        ElmanError: where it cannot be found, or a function fails to make a layer.
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise ElmanError(f"'{target}' is no module:Layer: say, for example, torch.nn:LSTM")
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise ElmanError(f"{place}: no such file")
        sys.path.insert(0, str(path.resolve().parent))
        place = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(place)
    except Exception as error:  # whatever a stranger's code raises
        raise ElmanError(f"{place} cannot be imported ({in_one_line(error)})") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise ElmanError(f"{place} has no '{name}'")
        found = getattr(found, part)
    first = name.split(".")[0]
    imports = f"from {place} import {first}"
    if isinstance(found, type) or not inspect.isfunction(found):
        return found, [imports, name]
    needed = [
        p
        for p in inspect.signature(found).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if needed:  # a function of x and a state
        return found, [imports, name]
    torch.manual_seed(0)
    try:
        return found(), [imports, f"{name}()"]
    except Exception as error:  # whatever a stranger's code raises
        raise ElmanError(f"{name}() raised {in_one_line(error)}") from error
