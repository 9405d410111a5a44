"""The code that the documents show is run."""

import re
from pathlib import Path

import pytest

DOCUMENTS = [*Path(__file__).parents[1].glob("docs/*.md"), Path(__file__).parents[1] / "README.md"]

BLOCKS = [
    pytest.param(code, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)
    )
]


@pytest.mark.parametrize("code", BLOCKS)
def test_shown_code_runs(code: str) -> None:
    exec(compile(code, "shown", "exec"), {"__name__": "shown"})
