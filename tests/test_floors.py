"""Imports only go down the floors of the house, and siblings never import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import elman

ROOT = Path(elman.__file__).parent

# What the files of each place may import of Elman, beside their own place.
ALLOWED = {
    "errors.py": set(),
    "native": set(),
    "bptt": {"native"},
    "functional.py": {"bptt"},
    "data": {"errors"},
    "model": {"errors", "bptt", "data"},
    "generate": {"errors", "native", "bptt", "data", "model"},
    "runtime": {"errors", "native", "data", "model", "generate"},
    "train": {"errors", "native", "bptt", "data", "model", "generate", "runtime"},
    "chat": {"errors", "bptt", "data", "model", "generate"},
    "evaluate": {"errors", "bptt", "data", "model", "generate"},
    "learning": {"errors", "data", "model", "generate", "runtime", "train", "evaluate"},
    "lens": {"errors", "bptt", "data", "model", "generate"},
    "export": {"errors", "data", "model", "generate", "runtime"},
    "referee": {"errors", "bptt", "functional"},
    "pytest_plugin.py": {"referee"},
    "serve": {"errors", "bptt", "data", "model", "generate", "runtime", "chat", "evaluate", "lens"},
    "cli": {
        "errors",
        "native",
        "bptt",
        "data",
        "model",
        "generate",
        "runtime",
        "train",
        "chat",
        "evaluate",
        "learning",
        "lens",
        "export",
        "referee",
        "serve",
    },
    "__main__.py": {"cli"},
}

FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floors"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize(
    "path", [f for f in FILES if f != ROOT / "__init__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_down(path: Path) -> None:
    place = path.relative_to(ROOT).parts[0]
    reached = {name.split(".")[1] for name in imports(path) if name.startswith("elman.")}
    assert reached <= ALLOWED[place] | {place.removesuffix(".py")}


def test_every_place_has_a_floor() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in FILES} - {"__init__.py"} == set(ALLOWED)


def test_the_engine_knows_torch_alone() -> None:
    outside = {
        name.split(".")[0] for file in (ROOT / "bptt").rglob("*.py") for name in imports(file)
    }
    assert outside - sys.stdlib_module_names == {"torch", "elman"}


def test_the_compiled_library_is_found_by_python_alone() -> None:
    outside = {
        name.split(".")[0] for file in (ROOT / "native").rglob("*.py") for name in imports(file)
    }
    assert outside <= {*sys.stdlib_module_names, "elman"}


def test_readers_know_no_torch() -> None:
    for file in (ROOT / "data" / "readers").rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in imports(file)), file


WITH_TORCH = {"network.py"}
"""Of generate/: what asks the network."""


def test_replies_come_to_be_without_torch() -> None:
    """A decoder that needs no torch can stand behind everything else."""
    files = sorted((ROOT / "generate").glob("*.py"))
    names = [f"elman.generate.{f.stem}" for f in files if f.name not in WITH_TORCH]
    blocked = "import sys; sys.modules['torch'] = None\n"
    code = blocked + "\n".join(f"import {name}" for name in names)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
