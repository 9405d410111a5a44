"""The public names are one list, `__init__.pyi`; what Python gives and the docs say follow it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import elman

STUB = Path(elman.__file__).with_suffix(".pyi")
LIBRARY = Path(__file__).parents[1] / "docs" / "library.md"


def listed() -> dict[str, str]:
    """Return the names in the stub as type checkers read it, each with its module."""
    found = {}
    for node in ast.parse(STUB.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, "without `as`, it is not public"
                found[alias.name] = node.module or ""
    return found


def test_python_gives_what_the_list_says() -> None:
    names = listed()
    assert len(names) > 30
    assert set(vars(elman)["__all__"]) == set(dir(elman)) == {"__version__", *names}
    for name, module in names.items():
        home = vars(sys.modules.get(module) or __import__(module, fromlist=[name]))
        assert getattr(elman, name) is home[name]


def test_the_docs_describe_every_name() -> None:
    table = LIBRARY.read_text("utf-8").partition("## Every public name")[2]
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    described = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(described) == sorted(listed())


def test_importing_elman_and_asking_for_help_load_no_torch() -> None:
    code = "import sys, elman, elman.cli; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
