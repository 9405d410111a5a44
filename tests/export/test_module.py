"""The compiled module in the package is made of the sources in the repository."""

import hashlib
from pathlib import Path

import pytest

from elman.export.module import MODULE, PAGE_FOLDER, build, compiler, read_made_of, sources_digest

SOURCES = Path(__file__).parents[2] / "src/elman/native/csrc"
ANEW = "the module is older than its sources: python -m elman.export.module builds it anew"


def test_the_module_is_made_of_these_sources() -> None:
    made_of = read_made_of()
    assert hashlib.sha256((PAGE_FOLDER / MODULE).read_bytes()).hexdigest() == made_of["module"]
    assert sources_digest(SOURCES) == made_of["sources"], ANEW


@pytest.mark.slow
def test_the_same_compiler_builds_the_same_module() -> None:
    here, there = compiler(), read_made_of()["compiler"]
    if here != there:
        pytest.skip(f"built by {there}, and here is {here}")
    assert build(SOURCES) == (PAGE_FOLDER / MODULE).read_bytes(), ANEW
