"""The code that the documents show is run."""

import re
from pathlib import Path

import pytest

DOCUMENTS = [*Path(__file__).parents[1].glob("docs/*.md"), Path(__file__).parents[1] / "README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
SHOWN = {path.name: BLOCK.findall(path.read_text("utf-8")) for path in DOCUMENTS}


@pytest.mark.parametrize("document", [name for name, blocks in SHOWN.items() if blocks])
def test_shown_code_runs(document: str) -> None:
    """From top to bottom, as a reader would: a block goes on where the one before it ended."""
    names = {"__name__": "shown"}
    for number, code in enumerate(SHOWN[document]):
        exec(compile(code, f"{document}, block {number}", "exec"), names)
