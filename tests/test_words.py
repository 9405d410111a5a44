"""One public name stands for one thing: what more than one module defines is explained here.

A name with a leading underscore belongs to its file alone and is not looked at.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import elman

ROOT = Path(elman.__file__).parent

# What a name that several modules define stands for in each, and why both are right.
EXPLAINED = {
    "READER": "every reader's module names its reader so: `data/readers/__init__.py` lists them",
    "State": "a tuple of arrays: of tensors in `bptt/`, of a decoder's own kind in `generate/`",
    "T": "a type variable",
}


def definitions() -> dict[str, set[str]]:
    """Return each public class and constant with the modules that define it."""
    homes = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        for name in names:
            if re.match("[A-Z]", name):
                homes[name].add(str(path.relative_to(ROOT)))
    return homes


def test_a_name_stands_for_one_thing() -> None:
    several = {name: homes for name, homes in definitions().items() if len(homes) > 1}
    unexplained = {name: sorted(homes) for name, homes in several.items() if name not in EXPLAINED}
    assert not unexplained, "rename one of them, or explain both in EXPLAINED"
    assert EXPLAINED.keys() <= several.keys(), "explained, and not needed"
