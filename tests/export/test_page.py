"""A page in Chromium: talk, going back, forks, memories, and what was cut or is missing."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from elman.export.html import write_page
from tests.accessible import violations
from tests.export.conftest import Opened, ask, write_bot
from tests.runtime.test_decoders import config

WITHOUT = {
    "WebAssembly": "delete window.WebAssembly",
    "workers": "delete window.Worker",
    "SIMD": "WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError() } }",
}
"""What takes something away from a browser."""

IN_THE_PAGE = "window.Worker = class { constructor() { throw new Error('none here') } };"
"""A worker would have its own again."""


def say(page: Page, text: str) -> str:
    """Say something by keyboard; return the reply."""
    before = page.locator(".message").count()
    page.fill("#say", text)
    page.press("#say", "Enter")
    expect(page.locator(".message")).to_have_count(before + 2)
    expect(page.locator("#fork")).to_be_enabled()
    return str(page.locator(".message.bot .text").last.inner_text())


def texts(page: Page) -> list[str]:
    return [str(each) for each in page.locator(".message .text").all_inner_texts()]


def test_one_talks_with_it(file: Path, opened: Opened) -> None:
    page = opened(file)
    expect(page).to_have_title("Ann")
    expect(page.locator("#notice")).to_be_empty()
    expect(page.locator("#intro")).to_contain_text("what you say stays in this tab")
    reply = say(page, "<b>what</b> is one plus two?")
    assert texts(page) == ["<b>what</b> is one plus two?", reply]
    expect(page.locator("#memory")).to_contain_text("2 messages")
    expect(page.locator("#announcer")).to_have_text(f"Ann: {reply}")


HELD_BACK = """
const Real = Worker;
window.Worker = class {
  constructor(url) {
    this.real = new Real(url);
    this.real.onmessage = (event) => {
      const ends = event.data.piece === undefined;
      if (ends && this.says) this.held = event;
      else this.onmessage(event);
    };
  }
  set onerror(told) { this.real.onerror = told; }
  postMessage(message) {
    this.real.postMessage(message);
    this.says = message.method === "say";
    if (message.method !== "stop") return;
    if (this.held) this.onmessage(this.held);
  }
};
"""
"""The end of a reply comes only when it is stopped: a small bot would be done before."""


def test_a_reply_streams_and_can_be_stopped(file: Path, opened: Opened) -> None:
    page = opened(file, script=HELD_BACK)
    ask(
        page,
        "settings",
        {"samples": 1, "temperature": 1, "seed": "1", "speaker": None, "max_tokens": 4000},
    )
    page.fill("#say", "tell me a very long story")
    page.press("#say", "Enter")
    expect(page.locator("#send")).to_have_text("Stop")
    expect(page.locator(".message.bot .text")).not_to_be_empty()
    page.keyboard.press("Escape")
    expect(page.locator("#send")).to_have_text("Send")
    expect(page.locator("#notice")).to_be_empty()


def test_undo_another_reply_and_forks(file: Path, opened: Opened) -> None:
    page = opened(file)
    first = say(page, "I like tea")
    say(page, "and the sea")
    page.keyboard.press("Alt+U")
    expect(page.locator(".message")).to_have_count(2)
    page.keyboard.press("Alt+F")
    expect(page.locator("#conversations option")).to_have_count(2)
    say(page, "so do I")
    forked = texts(page)
    page.select_option("#conversations", "0")
    expect(page.locator(".message")).to_have_count(2)
    page.keyboard.press("Alt+R")
    expect(page.locator("#fork")).to_be_enabled()
    assert texts(page)[0] == "I like tea"
    page.select_option("#conversations", "1")
    expect(page.locator(".message")).to_have_count(4)
    assert texts(page) == forked
    assert forked[1] == first
    page.click("#begin")
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#undo")).to_be_disabled()


def test_a_reply_is_picked_from_others(file: Path, opened: Opened) -> None:
    page = opened(file)
    say(page, "what is one plus two?")
    page.get_by_role("button", name="Others").click()
    choice = page.locator("#others button").last
    wanted = choice.inner_text()
    choice.click()
    expect(page.locator(".message.bot .text").last).to_have_text(wanted)
    expect(page.locator(".message")).to_have_count(2)


def test_memories_are_kept_and_loaded(file: Path, opened: Opened, tmp_path: Path) -> None:
    page = opened(file)
    say(page, "I like tea")
    with page.expect_download() as kept:
        page.click("#save")
    assert kept.value.suggested_filename == "Ann.state"
    kept.value.save_as(tmp_path / "Ann.state")
    page.set_input_files("#file", tmp_path / "Ann.state")
    expect(page.locator(".message .text")).to_have_text(["Goes on from Ann.state, 2 messages old."])
    say(page, "and the sea")
    expect(page.locator("#memory")).to_contain_text("4 messages")


def test_a_memory_of_another_bot_is_refused(file: Path, opened: Opened, tmp_path: Path) -> None:
    other = write_bot(tmp_path / "bob", config(ngrams=0, layers=1))
    write_page(other, tmp_path / "bob.html", 8, lambda line: None)
    page = opened(tmp_path / "bob.html")
    kept = bytes(page.evaluate("async () => Array.from(await elman.ask('save'))"))
    (tmp_path / "bob.state").write_bytes(kept)
    (tmp_path / "cut.state").write_bytes(kept[:-100])
    (tmp_path / "no.state").write_bytes(b"hello")
    mine = opened(file)
    said = say(mine, "I like tea")
    mine.set_input_files("#file", tmp_path / "bob.state")
    expect(mine.locator(".wrong")).to_contain_text("made by other weights than those of this bot")
    assert texts(mine) == ["I like tea", said]
    mine.set_input_files("#file", tmp_path / "no.state")
    expect(mine.locator(".wrong")).to_contain_text("no state of a bot's")
    page.set_input_files("#file", tmp_path / "cut.state")
    expect(page.locator(".wrong")).to_contain_text("damaged or cut")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9995])
def test_a_file_that_was_cut_says_so(
    file: Path, share: float, opened: Opened, tmp_path: Path
) -> None:
    content = file.read_bytes()
    (tmp_path / "cut.html").write_bytes(content[: int(share * len(content)) // 2 * 2])
    page = opened(tmp_path / "cut.html", ready=False)
    expect(page.locator("body")).to_contain_text("This file was cut on its way")


def test_a_file_that_was_changed_says_so(file: Path, opened: Opened, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    place = len(content) - 4000
    content[place] ^= 1
    (tmp_path / "changed.html").write_bytes(content)
    expect(opened(tmp_path / "changed.html").locator(".wrong")).to_contain_text("cut or changed")


@pytest.mark.parametrize("missing", WITHOUT)
def test_where_something_is_missing_javascript_takes_over_and_says_so(
    file: Path, missing: str, opened: Opened
) -> None:
    page = opened(file, script=IN_THE_PAGE * (missing != "workers") + WITHOUT[missing])
    if missing == "workers":
        expect(page.locator("#notice")).to_be_empty()
    else:
        expect(page.locator("#notice")).to_contain_text(
            re.compile(f"this browser has no WebAssembly{' with SIMD' * (missing == 'SIMD')};")
        )
    assert say(page, "what is one plus two?")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1100, 800), (360, 640)])
def test_axe_finds_nothing(file: Path, opened: Opened, scheme: str, size: tuple[int, int]) -> None:
    page = opened(file, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})

    def check(state: str) -> None:
        assert violations(page, state) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]

    check("empty")
    say(page, "what is one plus two?")
    page.get_by_role("button", name="Others").click()
    expect(page.locator("#others button").first).to_be_visible()
    check("others")
    page.click("#open-card")
    expect(page.locator("#card")).to_contain_text("must not be used for")
    check("card")
    page.keyboard.press("Escape")
    page.click("#open-settings")
    check("settings")


def test_everything_is_reached_by_keyboard(file: Path, opened: Opened) -> None:
    page = opened(file)
    say(page, "I like tea")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert {"undo", "fork", "begin", "save", "load", "open-settings", "open-card", "say",
            "Another reply", "Others"} <= reached  # fmt: skip
