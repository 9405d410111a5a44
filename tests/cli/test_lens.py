"""The tiny step, printed and as a page: every number is there, and nothing from elsewhere."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from elman.lens.tiny import TINY_CELLS, TinyStep, tiny_step
from elman.lens.tiny_page import page
from elman.lens.tiny_text import number

Run = Callable[..., Any]

every_cell = pytest.mark.parametrize("cell", TINY_CELLS)
every_unfold = pytest.mark.parametrize("unfold", [1, 2, 5])
EMPTY = {"meta", "rect", "circle", "polygon", "path", "line", "br", "input"}


@every_cell
@every_unfold
def test_every_number_is_printed(elman: Run, cell: str, unfold: int) -> None:
    ran = elman("lens", "--tiny", "--cell", cell, "--unfold", unfold, "--seed", 2)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]

    def shown(*numbers: Any) -> bool:
        """Whether these stand side by side in one line."""
        wanted = " ".join(map(number, numbers))
        return any(wanted in " ".join(line).replace("*", "") for line in lines)

    step = tiny_step(cell, unfold, 2)
    for t, s in enumerate(step.steps, 1):
        assert shown(*s.after[0], s.p[t], s.loss)
        for part in (*s.after[1:], s.direct, s.indirect, s.gradient, *s.back):
            assert shown(*part)
        assert shown(s.direct.norm())
        # With what is marked for having come next.
        assert number(s.p[t]) + "*" in ran.out
    for v in range(6):
        assert shown(*(s.p[v] for s in step.steps))
    for name, gradient in step.gradient.items():
        for place, total in enumerate(gradient.flatten()):
            shares = [s.shares[name].flatten()[place] for s in step.steps]
            if name == "weight_ih":  # given by its columns, which the shares of bias_ih are
                continue
            assert shown(*shares, total), name
    for weights in (step.weights, step.sgd, step.adam):
        for name in ("weight_ih", "weight_hh", "weight_out"):
            bias = weights[name.replace("weight", "bias")]
            for row, b in zip(weights[name], bias, strict=True):
                assert shown(*row, b), name
    for value in (step.loss, step.norm, step.clipped_norm, step.sgd_loss, step.adam_loss):
        assert shown(value)
    assert ran.out.count("cut: step") == sum(s.cut for s in step.steps)
    assert max(map(len, ran.out.splitlines())) <= 80
    assert ran.out.isascii()


def test_the_cut_is_said_where_it_is(elman: Run) -> None:
    out = elman("lens", "--tiny", "--unfold", 3).out
    backward = out[out.index("3 Backward") : out.index("4 Sum")]
    assert re.findall(r"^step (\d)|cut: step (\d)", backward, re.M) == [
        ("5", ""),
        ("4", ""),
        ("", "3"),
        ("3", ""),
        ("2", ""),
        ("1", ""),
    ]


@every_cell
def test_json_holds_everything(elman: Run, cell: str, tmp_path: Path) -> None:
    ran = elman("lens", "--tiny", "--cell", cell, "--unfold", 2, "--json")
    told = json.loads(ran.out)
    step = tiny_step(cell, 2)
    assert told.keys() == vars(step).keys()
    assert told["weights"]["weight_hh"] == step.weights["weight_hh"].tolist()
    assert told["adam_loss"] == step.adam_loss
    for t, s in enumerate(step.steps):
        assert told["steps"][t].keys() == vars(s).keys()
        assert told["steps"][t]["after"] == [part.tolist() for part in s.after]
        assert told["steps"][t]["shares"]["weight_hh"] == s.shares["weight_hh"].tolist()
        assert told["steps"][t]["cut"] is s.cut
    both = elman("lens", "--tiny", "--json", "--html", tmp_path / "tiny.html")
    assert json.loads(both.out)["html"] == str(tmp_path / "tiny.html")
    assert (tmp_path / "tiny.html").exists()


class Reader(HTMLParser):
    """Reads a page strictly: every tag that was opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("tr", "td", "th"):  # HTML lets these end by themselves
            return
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def numbers_of(text: str) -> set[str]:
    return set(re.findall(r"-?\d+\.\d+", text.replace("\N{MINUS SIGN}", "-")))


@every_cell
@every_unfold
def test_the_page_is_whole(elman: Run, tmp_path: Path, cell: str, unfold: int) -> None:
    path = tmp_path / "tiny.html"
    ran = elman("lens", "--tiny", "--cell", cell, "--unfold", unfold, "--html", path)
    assert (ran.code, ran.err) == (0, "")
    assert str(path) in ran.out
    text = path.read_text("utf-8")
    assert text == page(tiny_step(cell, unfold))
    read = Reader(text)
    step = tiny_step(cell, unfold)
    words = " ".join(read.words)
    there = numbers_of(words)
    for s in step.steps:
        assert {number(s.loss), f"{s.loss:.3f}"} <= there
        for values in (*s.after, s.direct, s.p):
            assert {f"{value:.3f}" for value in values} <= there
        assert s.message in words
    for value in (step.loss, step.norm, step.clipped_norm, step.sgd_loss, step.adam_loss):
        assert f"{value:.3f}" in there
    scissors = [attrs for _, attrs in read.tags if attrs.get("class") == "scissors"]
    assert len(scissors) == sum(s.cut for s in step.steps)


def test_the_page_needs_nothing_from_elsewhere_and_shows_all_without_javascript() -> None:
    text = page(tiny_step("lstm", 2))
    for outside in ("https:", "src=", "href=", "@import", "url(", "fetch(", "import(", "XMLHttp"):
        assert outside not in text, outside
    assert re.findall(r"http:\S+", text) == ['http://www.w3.org/2000/svg";']  # a name, no address
    read = Reader(text)
    assert {tag for tag, _ in read.tags} & {"link", "img", "iframe", "object", "use"} == set()
    # What is hidden, is hidden by an attribute that only the script sets.
    assert "data-phase" not in {name for _, attrs in read.tags for name in attrs}
    assert {tag for tag, attrs in read.tags if "hidden" in attrs} == {"nav", "section"}
    buttons = [attrs for tag, attrs in read.tags if tag == "button" and "data-go" in attrs]
    assert [attrs["data-go"] for attrs in buttons] == list("01234567")
    assert {"default-src 'none'"} <= {
        (attrs.get("content") or "").split(";")[0] for tag, attrs in read.tags if tag == "meta"
    }


def test_text_in_the_page_is_escaped() -> None:
    step = tiny_step()
    bad = "<script>alert('&')</script>"
    first = type(step.steps[0])(**{**vars(step.steps[0]), "message": bad, "target": bad})
    changed = TinyStep(**{**vars(step), "steps": [first, *step.steps[1:]], "cell": "rnn"})
    read = Reader(page(changed))
    assert sum(tag == "script" for tag, _ in read.tags) == 2  # what the laboratory begins with
    assert bad in "".join(read.words)


def test_a_page_is_replaced_at_once_or_not_at_all(
    elman: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.html"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = elman("lens", "--tiny", "--html", path)
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.html"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "add --tiny"),
        (["--cell", "gru"], "add --tiny"),
        (["--tiny", "--cell", "mamba"], "--cell mamba: expected rnn, gru or lstm"),
        (["--tiny", "--unfold", "0"], "--unfold 0: expected"),
        (["--tiny", "--unfold", "-3"], "--unfold -3: expected"),
        (["--tiny", "--seed", "-1"], "--seed -1: expected"),
        (["--tiny", "--seed", str(2**70)], "expected a whole number"),
        (["--tiny", "--html", "no/such/folder/x.html"], "no/such/folder/x.html"),
    ],
)
def test_mistakes(elman: Run, arguments: list[str], said: str) -> None:
    ran = elman("lens", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert said in line
