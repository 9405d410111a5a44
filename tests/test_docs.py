"""What the documents show is true: code runs, links lead somewhere, figures were measured."""

import re
import runpy
from pathlib import Path

import pytest

from tests.shown import PAGES, ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
SHOWN = {page.name: BLOCK.findall(page.read_text("utf-8")) for page in PAGES}

LINKING = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TABLES = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
COUNTS_OF_WORDS = 20
"""Up to here a number counts what the sentence itself lists, such as steps or seeds."""

NOT_MEASURED = {
    "3.11", "2.13", "2.0",  # versions of Python, PyTorch and the license
    "127.0", "8000", "32", "64", "1000",  # of shown code
    "30", "100",  # "some 30 kilobytes" in words, and a percentage's whole
    "3,580",  # chats of chitchat-dataset
}  # fmt: skip


@pytest.mark.parametrize("document", [name for name, blocks in SHOWN.items() if blocks])
def test_shown_code_runs(document: str) -> None:
    """From top to bottom, as a reader would: a block goes on where the one before it ended."""
    names = {"__name__": "shown"}
    for number, code in enumerate(SHOWN[document]):
        exec(compile(code, f"{document}, block {number}", "exec"), names)


def without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.sub(r"^ {4,}\S.*$|`[^`\n]*`", "", text, flags=re.M)


def anchors(page: Path) -> set[str]:
    """Return the names by which headings of a page can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    words = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page.read_text("utf-8"))):
        if re.match("https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
        inside = target.resolve().is_relative_to(ROOT / "docs")
        assert inside or page.parent == ROOT, f"{link}: the site has no such page"


def test_every_page_of_the_site_can_be_found() -> None:
    """Where it cannot: add it to `nav` in zensical.toml."""
    listed = re.findall(r'= "([^"]+\.md)" }', (ROOT / "zensical.toml").read_text("utf-8"))
    assert sorted(listed) == sorted(page.name for page in ROOT.glob("docs/*.md"))


def test_pages_that_are_made_from_the_code_are_up_to_date() -> None:
    """Where they are not: python docs/reference.py"""
    for page, text in runpy.run_path(str(ROOT / "docs" / "reference.py"))["pages"]().items():
        assert page.read_text("utf-8") == text, page.name


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_tables_are_those_that_were_measured(page: Path) -> None:
    """Where they are not: python benchmarks/tables.py"""
    text = page.read_text("utf-8")
    assert TABLES["put_tables"](text) == text


def test_every_result_is_shown() -> None:
    shown = "".join(page.read_text("utf-8") for page in LINKING)
    for file in TABLES["RESULTS"].glob("*.json"):
        assert f"<!-- table: {file.stem} -->" in shown


def test_a_printed_table_is_kept_as_it_was_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = "| model | loss | steps |\n|---|--:|---|\n| a | 1.50 | 1,272 |\n| b | | 97 % |\n"
    printed = f"warming up\n\n{table}"
    save, load = TABLES["save"], TABLES["load"]
    monkeypatch.setitem(save.__globals__, "RESULTS", tmp_path)
    taken = TABLES["take"](printed.splitlines(), command="it", machine="one core", note="")
    save("kept", taken)
    assert '"rows": [\n  ["a", 1.50, 1272],\n  ["b", null, "97 %"]' in (
        tmp_path / "kept.json"
    ).read_text("utf-8")
    assert load("kept") == taken
    assert "| a | 1.50 | 1,272 |" in taken.markdown()


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md"])
def test_figures_in_prose_were_measured(name: str) -> None:
    text = without_code(TABLES["PLACE"].sub("", (ROOT / name).read_text("utf-8")))
    text = re.sub(r"\]\([^)]*\)", "]", text)
    measured = {
        number
        for file in TABLES["RESULTS"].glob("*.json")
        for number in NUMBER.findall(TABLES["load"](file.stem).markdown())
    }
    measured |= {str(round(float(each.replace(",", "")))) for each in measured}
    said = {number.rstrip(",") for number in NUMBER.findall(text)}
    counts = {number for number in said if number.isdigit() and int(number) <= COUNTS_OF_WORDS}
    assert not said - counts - measured - NOT_MEASURED
