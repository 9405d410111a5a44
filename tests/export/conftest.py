"""Pages of small bots, and what is asked of them in Chromium."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from elman.data.tokenizer import Tokenizer
from elman.export.html import write_page
from elman.model.checkpoint import save_weights
from elman.model.config import ModelConfig
from tests.runtime.test_decoders import VOCABULARY, config, made

WORDS = ["what is one plus two?", "it is three, Bob.", "I like tea and the sea", "so do I!"]

expect.set_options(timeout=30_000)


def write_bot(folder: Path, model: ModelConfig, **sections: object) -> Path:
    """Write the folder of a bot whose weights were drawn."""
    folder.mkdir()
    config = {
        "format": 1, "elman": "0.1.0", "model": model.model_dump(),
        "data": {"path": "chats.txt", "bot": "Ann"}, **sections,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.train(WORDS * 3, VOCABULARY)
    assert tokenizer.vocabulary_size == VOCABULARY
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    save_weights(folder, made(model), tokenizer)
    return folder


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bot that says whole words, but no sense."""
    reply = {"samples": 4, "temperature": 0.8}
    return write_bot(tmp_path_factory.mktemp("bots") / "ann", config(ngrams=0), reply=reply)


@pytest.fixture(scope="module")
def file(bot: Path) -> Path:
    """Its page."""
    written = bot.with_suffix(".html")
    write_page(bot, written, 8, lambda line: None)
    return written


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens a page's file, and waits until its bot can talk; no other file or host is asked for."""
    contexts = []

    def open_file(
        file: Path, how: str = "", script: str = "", ready: bool = True, **options: Any
    ) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(script)
        page.goto(file.as_uri() + how)
        if ready:
            page.wait_for_selector("html[data-ready], .wrong", state="attached")
        return page

    errors, asked = list[str](), list[str]()
    yield open_file
    for context in contexts:
        context.close()
    assert errors == []
    assert all(url.startswith(("blob:", "data:", "file:")) for url in asked)


def ask(page: Page, method: str, args: Any = None) -> Any:
    """Ask a page's engine, as its own scripts do."""
    return page.evaluate("([method, args]) => elman.ask(method, args)", [method, args])
