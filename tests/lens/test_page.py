"""The lens's page in a real browser: drawn, walked through by keys, and accessible."""

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from elman.generate.network import load_network_bot
from elman.lens.as_json import to_json
from elman.lens.html import data
from elman.lens.listening import listen
from elman.lens.page import page
from elman.lens.view import ViewedMessage, look

from .conftest import Opened

BAD = "</script><script>document.title='hacked'</script><img src=x onerror=alert(1)>"


def seen_by(folder: Path, *, rounded: bool = False, compare: bool = False) -> dict[str, Any]:
    """What the command's --json says, of a small bot and a chat that would do harm."""
    bot = load_network_bot(folder, "int8" if rounded else "float32")
    texts = [BAD, "it is 3.", *(f"message number {n}" for n in range(14))]
    said = [
        ViewedMessage(
            BAD if n == 0 else "Ann",
            "bot" if n % 2 else "user",
            text,
            _tokens(bot.tokenizer.encode(text), 1 + n % 2),
            n % 2 == 1,
        )
        for n, text in enumerate(texts)
    ]
    view = listen(bot.chatbot, said, "int8", lambda _: None) if rounded else look(bot.chatbot, said)
    facts = {
        "bot": BAD, "chat": BAD, "conversation": 1, "conversations": 1, "name": BAD, "seed": 0,
        "memory": "tokens", "cell": "lstm", "hidden_size": 16, "parameters": 1000,
        "learn_from": "bot", "messages_in_all": 16, "tokens_per_message": 5.0,
        "unfold": {"count": 16, "unit": "tokens", "messages": 3.0},
    }  # fmt: skip
    found = facts | to_json(view, bot.tokenizer)
    if compare:
        runs = [
            {
                "cell": cell, "clip": clip, "every": 1, "loss": [5.0, 4.0, 3.0],
                "norm": [1.0, 10.0, 1e5], "lags": None if clip == 0 else [1.0, 0.1, 0.0],
                "reach": None if clip == 0 else 2, "parameters": 1000,
                "ended": "exploded at step 4" if clip == 0 else None,
            }
            for cell in ("rnn", "gru", "lstm") for clip in (1.0, 0.0)
        ]  # fmt: skip
        found["compare"] = {"words": "Six networks.", "runs": runs}
    as_written: dict[str, Any] = json.loads(json.dumps(found))
    return as_written


def _tokens(ids: list[int], role: int) -> Any:
    import numpy as np

    return np.array([role, *ids, 0], np.uint16)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 400])
def test_it_is_drawn_and_accessible(
    browser: Browser, trained: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    seen = seen_by(trained, compare=True)
    opened = Opened(
        browser, tmp_path / "x.html", page(seen),
        viewport={"width": width, "height": 900}, color_scheme=scheme,
    )  # fmt: skip
    shown = opened.page
    shown.locator("#columns .column").first.click()
    shown.wait_for_selector("#close .token")
    found = Axe().run(shown)
    serious = [
        (v["id"], [n["target"] for n in v["nodes"]])
        for v in found.response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "scrolls sideways"
    assert opened.errors == []
    assert opened.requests == [(tmp_path / "x.html").as_uri()]
    assert len((tmp_path / "x.html").read_bytes()) < 3_000_000
    shown.close()


def test_what_is_drawn_is_what_was_seen(browser: Browser, trained: Path, tmp_path: Path) -> None:
    seen = seen_by(trained)
    opened = Opened(
        browser, tmp_path / "x.html", page(seen), viewport={"width": 1300, "height": 900}
    )
    shown = opened.page
    # Text is text.
    assert shown.title() == f"How a conversation teaches {BAD}"
    assert shown.locator("img").count() == 0
    assert BAD in (shown.locator("h1").text_content() or "")
    shown.locator("#overview").press("Home")
    columns = shown.locator("#columns .column")
    count = columns.count()
    assert 2 <= count < 16
    norm = sum(v * v for v in seen["messages"][0]["direct"]) ** 0.5
    label = columns.first.get_attribute("aria-label") or ""
    assert label.startswith("Message 1, ")
    assert f"Direct gradient {_number(norm)}" in label
    shown.locator("#overview").press("ArrowRight")
    assert (columns.first.get_attribute("aria-label") or "").startswith("Message 2, ")
    shown.locator("#overview").press("End")
    last = columns.nth(count - 1).get_attribute("aria-label") or ""
    assert last.startswith("Message 16, ")
    # A shorter unfolding is cut, and says how much is lost.
    assert shown.locator("#columns .scissors").count() == 0
    slider = shown.locator("#unfold")
    slider.focus()
    slider.press("Home")
    assert shown.locator("#unfolded").text_content() == "1 message"
    assert shown.locator("#columns .scissors").count() > 0
    share = 100 * seen["unfoldings"]["1"]["share"]
    lost = f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"
    assert f"{lost} of the gradient" in (shown.locator("#readout").text_content() or "")
    # Tokens by keyboard.
    columns.first.focus()
    shown.keyboard.press("Enter")
    n = 16 - count
    assert shown.locator("#close .token").count() == seen["messages"][n]["tokens"]
    shown.keyboard.press("Enter")
    assert shown.locator("#close").is_hidden()
    shown.locator("#layer").select_option("1")
    assert shown.locator("#numbers tbody tr").count() == 16
    assert opened.errors == []
    shown.close()


def _number(value: float) -> str:
    """As the page writes it."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def test_without_gradients(browser: Browser, trained: Path, tmp_path: Path) -> None:
    seen = seen_by(trained, rounded=True)
    opened = Opened(
        browser, tmp_path / "x.html", page(seen), viewport={"width": 1300, "height": 900}
    )
    assert opened.page.locator("#columns .column").count() > 1
    assert opened.page.locator("#lags").is_hidden()
    assert "have no gradient" in (opened.page.locator(".method").text_content() or "")
    assert opened.errors == []
    opened.page.close()


def test_data_ends_no_element() -> None:
    inside = data("x", {"text": BAD + "\u2028"})
    assert inside.count("<") == 2
    start, end = inside.index(">") + 1, inside.rindex("</script>")
    assert json.loads(inside[start:end]) == {"text": BAD + "\u2028"}
    with pytest.raises(ValueError, match="JSON"):
        data("x", float("nan"))
