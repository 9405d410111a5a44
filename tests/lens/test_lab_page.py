"""The tiny page's laboratory in a real browser: its controls, its ten answers, and access to it."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, expect

from elman.lens.lab import GATE_BIASES
from elman.lens.tiny import tiny_step
from elman.lens.tiny_page import page as tiny_page
from elman.lens.tiny_text import number

from .conftest import Opened


class Lab(Opened):
    """The section of the page, and whatever went wrong in it."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        super().__init__(browser, path, tiny_page(tiny_step()), "#7", **options)

    def figure(self, name: str) -> str:
        return self.page.locator(f"#lab-{name}").inner_text()

    def press(self, name: str) -> None:
        self.page.locator("#lab").get_by_role("button", name=name, exact=True).click()

    def choose(self, name: str, value: str) -> None:
        self.page.locator(f"#lab-{name}").select_option(value)

    def unfold(self, messages: int) -> None:
        self.page.locator("#lab-unfold").fill(str(messages))

    def table(self, nth: int) -> list[list[str]]:
        """The numbers of one of the tables: a row for each message."""
        rows = self.page.locator("#lab-tables table").nth(nth).locator("tbody tr")
        return [
            [cell.text_content() or "" for cell in row.locator("td").all()] for row in rows.all()
        ]

    def parts(self, part: str) -> list[str]:
        """The lengths of one part of each state's gradient."""
        at = ("direct", "indirect", "sum", "cut off").index(part)
        return [row[at] for row in self.table(0)]

    def exercise(self, nth: int) -> "tuple[Locator, str]":
        """Set one up; return its place, and its answer as the reader sees it."""
        item = self.page.locator("#lab-exercises > li").nth(nth - 1)
        item.get_by_role("button", name="Set it up").click()
        item.locator("summary").click()
        return item, item.locator("details p").inner_text()


@pytest.fixture
def lab(browser: Browser, tmp_path: Path) -> Iterator[Lab]:
    opened = Lab(browser, tmp_path / "tiny.html", reduced_motion="reduce")
    yield opened
    assert opened.errors == []
    assert len(opened.requests) == 1
    opened.page.close()


def test_it_begins_with_the_step_above(lab: Lab) -> None:
    for cell in ("rnn", "gru", "lstm"):
        lab.choose("cell", cell)
        for unfold in (5, 2):
            lab.unfold(unfold)
            step = tiny_step(cell, unfold)
            assert lab.figure("loss") == number(step.loss)
            assert lab.figure("norm") == number(step.norm)
            assert [float(v) for v in lab.parts("direct")] == pytest.approx(
                [float(s.direct.norm()) for s in step.steps], abs=6e-5
            )
            assert [float(v.replace("−", "-")) for v in lab.parts("indirect")] == pytest.approx(  # noqa: RUF001
                [float(s.indirect.norm()) for s in step.steps], abs=6e-5
            )
            assert lab.page.locator("#lab-drawing .cut").count() == sum(s.cut for s in step.steps)
    lab.choose("cell", "rnn")
    lab.unfold(5)
    lab.press("One update")
    assert lab.figure("loss") == number(tiny_step().sgd_loss)
    lab.press("Start again")
    lab.choose("optimizer", "adam")
    lab.press("One update")
    assert lab.figure("loss") == number(tiny_step().adam_loss)
    assert lab.figure("updates") == "1"


def test_messages_are_edited_added_and_taken_away(lab: Lab) -> None:
    bad = "<img src=x onerror=alert>"[:24]
    first = lab.page.get_by_label("Message 1", exact=True)
    first.fill(bad)
    assert first.input_value() == bad
    expect(first).to_be_focused()
    assert lab.page.locator("#lab img").count() == 0
    lab.press("Add a message")
    expect(lab.page.get_by_label("Message 6", exact=True)).to_be_focused()
    assert len(lab.table(0)) == 6
    assert lab.page.locator("#lab-unfold-out").inner_text() == "K = 6"
    for _ in range(2):
        lab.press("Add a message")
    expect(lab.page.get_by_role("button", name="Add a message")).to_be_disabled()
    for _ in range(6):
        lab.press("Remove message 1")
    expect(lab.page.get_by_role("button", name="Remove message 1")).to_be_disabled()
    assert len(lab.table(0)) == 2
    for t in (1, 2):
        lab.page.get_by_label(f"Message {t}", exact=True).fill("ok")
    assert lab.figure("loss") != "not a number"
    lab.press("The step above")
    assert lab.figure("loss") == number(tiny_step().loss)


def test_the_examples_vanish_and_explode(lab: Lab) -> None:
    lab.press("A vanishing gradient")
    lengths = [float(v) for v in lab.parts("sum")]
    assert all(b / a == pytest.approx(2.5, rel=0.05) for a, b in pairwise(lengths))
    lab.press("An exploding gradient")
    lengths = [float(v) for v in lab.parts("sum")]
    assert all(a > b for a, b in pairwise(lengths))
    assert lengths[0] / lengths[3] == pytest.approx(8, rel=0.01)


def test_a_prediction_is_judged(lab: Lab) -> None:
    lab.press("An exploding gradient")
    lab.choose("losses", "all")
    lab.choose("change", "double")
    before = [float(v) for v in lab.parts("sum")]
    lab.press("Do it, and see")
    after = [float(v) for v in lab.parts("sum")]
    grown = [a / b for a, b in zip(after, before, strict=True)]
    best = grown.index(max(grown)) + 1
    verdict = lab.page.locator("#lab-verdict")
    expect(verdict).to_contain_text(f"That of message {best} grew most")
    expect(verdict).to_contain_text("Yes." if best == 1 else "Not message 1")
    lab.press("An exploding gradient")
    lab.choose("losses", "all")
    lab.choose("guess", str(best - 1))
    lab.press("Do it, and see")
    expect(verdict).to_contain_text("Yes.")
    # A cut takes away only: nothing grows where all grew from later losses.
    lab.press("An exploding gradient")
    lab.choose("change", "one")
    lab.press("Do it, and see")
    expect(verdict).to_contain_text("None grew")


def test_weights_thrown_too_far_are_said(lab: Lab) -> None:
    lab.choose("clip", "0")
    lab.choose("lr", "10")
    lab.page.evaluate("document.querySelector('#lab-lr').add(new Option('1e300'))")
    lab.choose("lr", "1e300")
    lab.press("20 updates")
    expect(lab.page.locator("#lab-said")).to_contain_text("no longer a finite number")
    lab.press("Start again")
    assert lab.figure("loss") == number(tiny_step().loss)


def test_it_trains_until_it_is_stopped(browser: Browser, tmp_path: Path) -> None:
    lab = Lab(browser, tmp_path / "tiny.html")
    lab.press("Train on and on")
    expect(lab.page.locator("#lab-updates")).to_have_text(re.compile(r"[3-9]|\d\d"))
    lab.press("Stop")
    updates = int(lab.figure("updates"))
    assert float(lab.figure("loss")) < tiny_step().loss
    lab.press("Start again")
    for _ in range(updates):
        lab.press("One update")
    expect(lab.page.locator("#lab-said")).to_contain_text(lab.figure("loss"))
    assert lab.errors == []
    lab.page.close()


def test_keys_of_a_control_do_not_turn_the_page(lab: Lab) -> None:
    lab.page.get_by_label("Message 1", exact=True).press("1")
    lab.page.locator("#lab-unfold").press("ArrowLeft")
    assert lab.page.locator("#lab-unfold-out").inner_text() == "K = 4"
    expect(lab.page.locator("html")).to_have_attribute("data-phase", "7")
    lab.page.get_by_role("button", name="20 updates").press("3")
    expect(lab.page.locator("html")).to_have_attribute("data-phase", "3")
    expect(lab.page.locator("#lab")).to_be_hidden()


def test_answers_1_to_3(lab: Lab) -> None:
    _, answer = lab.exercise(1)
    before, norm, indirect = lab.figure("loss"), lab.figure("norm"), lab.parts("indirect")[1]
    states = [row[2] for row in lab.table(1)]
    lab.unfold(2)
    assert lab.figure("loss") == before
    assert [row[2] for row in lab.table(1)] == states
    assert f"loss stays {before}" in answer
    assert f"from {indirect} to {lab.parts('indirect')[1]}" in answer
    assert f"from {norm} to {lab.figure('norm')}" in answer

    _, answer = lab.exercise(2)
    assert "0" not in lab.parts("sum")
    lab.unfold(3)
    reached = lab.parts("indirect")
    assert f"message 4 alone, with {reached[3]}" in answer
    assert [v != "0" for v in reached] == [False, False, False, True, False]
    lab.unfold(2)
    assert set(lab.parts("indirect")) == {"0"}

    _, answer = lab.exercise(3)
    norm, apart = lab.figure("norm"), lab.figure("walked")
    lab.choose("windows", "sliding")
    assert lab.figure("norm") == norm
    assert f"norm stays {norm}, but {lab.figure('walked')} steps" in answer
    assert f"not {apart}:" in answer
    lab.unfold(2)
    assert f"it is {lab.figure('walked')} and not {apart}" in answer


def test_answers_4_to_6(lab: Lab) -> None:
    _, answer = lab.exercise(4)
    assert lab.parts("direct")[:4] == ["0"] * 4
    length = lab.parts("sum")
    assert f"{length[4]} at message 5, {length[3]} at 4, and {length[0]} at message 1" in answer

    _, answer = lab.exercise(5)
    direct, indirect, both = (lab.parts(name)[1] for name in ("direct", "indirect", "sum"))
    assert f"length {direct} and the indirect part {indirect}, but their sum only {both}" in answer
    assert float(both) < float(direct)
    lab.unfold(1)
    assert set(lab.parts("indirect")) == {"0"}

    _, answer = lab.exercise(6)
    loss = lab.figure("loss")
    lab.unfold(3)
    assert lab.figure("loss") == loss
    assert f"loss is still {loss}" in answer
    lab.page.get_by_label("new talk at message 4").check()
    assert f"loss is {lab.figure('loss')}, for" in answer


def test_answers_7_to_8(lab: Lab) -> None:
    _, answer = lab.exercise(7)
    expect(lab.page.get_by_label("new talk at message 4")).to_be_checked()
    assert lab.parts("indirect")[2] == "0"
    assert set(lab.parts("cut off")) == {"0"}
    norm, parts = lab.figure("norm"), lab.parts("sum")
    lab.unfold(3)
    assert lab.figure("norm") == norm
    assert lab.parts("sum") == parts
    assert set(lab.parts("cut off")) == {"0"}
    assert f"norm stays {norm}" in answer

    _, answer = lab.exercise(8)
    length = lab.parts("sum")
    assert f"{length[7]} at message 8 and {length[0]} at message 1" in answer
    lab.choose("cell", "lstm")
    in_c = [row[0] for row in lab.table(1)]
    assert f"hands back {in_c[6]} to message 7 and still {in_c[0]} to message 1" in answer
    forget_bias = GATE_BIASES["lstm"][1]
    assert f"forget gate alone, here {1 / (1 + exp(-forget_bias)):.2f}" in answer


def test_answers_9_to_10(lab: Lab) -> None:
    def loss(updates: int = 1) -> float:
        lab.press("Start again")
        for _ in range(updates):
            lab.press("100 updates")
        return float(lab.figure("loss"))

    _, answer = lab.exercise(9)
    assert re.search(r"above 16\b.*below 4\b", answer, re.S)
    assert loss() > 16
    assert all(float(v.replace("−", "-")) < 1e-3 for v in lab.parts("indirect"))  # noqa: RUF001
    lab.choose("clip", "1")
    assert loss() < 4

    _, answer = lab.exercise(10)
    assert loss() == pytest.approx(0.0774, abs=5e-5)
    assert "falls to 0.0774" in answer
    lab.choose("lr", "1")
    assert loss() > 5
    lab.choose("lr", "10")
    assert loss() > 100
    lab.choose("lr", "1")
    lab.choose("clip", "1")
    assert loss() == pytest.approx(0.0234, abs=5e-5)
    assert "the loss is 0.0234" in answer


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 360])
def test_it_fits_and_is_accessible(
    browser: Browser, tmp_path: Path, width: int, scheme: Any
) -> None:
    lab = Lab(
        browser, tmp_path / "tiny.html", viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )  # fmt: skip
    lab.press("An exploding gradient")
    lab.choose("cell", "lstm")
    lab.unfold(3)
    lab.page.get_by_label("new talk at message 5").check()
    lab.press("Do it, and see")
    for summary in lab.page.locator("#lab summary").all():
        summary.click()
    assert lab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = lab.page.evaluate(
        "[...document.querySelectorAll('#lab *')]"
        ".filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest('svg'))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    found = Axe().run(lab.page).response["violations"]
    assert [(each["id"], [n["target"] for n in each["nodes"]]) for each in found] == []
    assert lab.errors == []
    lab.page.close()


def test_every_setup_is_one_that_the_controls_can_show(lab: Lab) -> None:
    for button in lab.page.locator("#lab [data-setup]").all():
        button.click()
        asked = json.loads(button.get_attribute("data-setup") or "")
        for name in asked.keys() - {"messages", "resets", "unfold"}:
            assert lab.page.locator(f"#lab-{name}").input_value() == str(asked[name])
    assert lab.page.locator("#lab-exercises > li").count() == 10
