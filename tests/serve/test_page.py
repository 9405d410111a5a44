"""The page in a real Chromium, with a real server behind it.

Only what the bot says is prescribed, token by token, so that a test knows what it waits for; its
states are its own.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Route,
    expect,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman.chat import MemoryStore
from elman.data.characters import Characters
from elman.data.tokenizer import END
from elman.generate.bot import Bot
from elman.generate.decoder import State
from elman.serve.http.access import AccessPolicy
from elman.serve.http.app import create_app
from elman.serve.run import listen, load
from elman.serve.service import Service
from elman.serve.store.keys import Keys
from elman.serve.submission import Submission
from tests.accessible import violations

WIDE, NARROW = (1280, 800), (390, 844)

expect.set_options(timeout=15_000)


class Script:
    """What the bot says next, whatever it was asked; and a gate at which it pauses."""

    def __init__(self, bot: Bot) -> None:
        self.text = "it is 4, Bob."
        self.pause_at: int | None = None  # tokens that are said before the gate
        self.gate = threading.Event()
        self._bot, self._tokens, self._at = bot, [END], 0
        self._begin, self._step = bot.decoder.begin_reply, bot.decoder.step
        bot.decoder.begin_reply = self.begin_reply  # type: ignore[method-assign]
        bot.decoder.step = self.step  # type: ignore[method-assign]
        # It may say what bots never say: an older server may have kept that.
        anything = Characters([b""] * bot.tokenizer.vocabulary_size)
        bot.tokenizer.__dict__["characters"] = anything
        object.__setattr__(bot.decoder._weights, "characters", anything)  # type: ignore[attr-defined]

    def begin_reply(self, state: State) -> tuple[np.ndarray, State]:
        self._at = -9  # to begin takes a step of its own, which says nothing
        logits, state = self._begin(state)
        self._tokens, self._at = [*self._bot.tokenizer.encode(self.text), END], 0
        return self._only(logits), state

    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        self._at += 1
        if self._at == self.pause_at:
            assert self.gate.wait(60), "nobody opened the gate"
        logits, state = self._step(tokens, state)
        return self._only(logits), state

    def _only(self, logits: np.ndarray) -> np.ndarray:
        """The next token is the only choice."""
        if self._at < 0:
            return logits
        only = np.full_like(logits, -1e9)
        only[:, self._tokens[min(self._at, len(self._tokens) - 1)]] = 0
        return only

    def pause(self, at: int = 3) -> None:
        self.pause_at = at
        self.gate.clear()

    def go_on(self) -> None:
        self.pause_at = None
        self.gate.set()


class Served:
    """`elman serve`, in a thread; it can go away and come back at the same address."""

    def __init__(self, bots: list[Path], db: Path, host: str = "127.0.0.1") -> None:
        self._bots, self._db, self._host, self._port = bots, db, host, 0
        self.cut = False  # break connections off instead of sending what comes next
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        bots = load(self._bots)
        self.script = Script(next(iter(bots.values())))
        self.store = MemoryStore(self._db)
        app = self._breaking(create_app(Service(bots, self.store), AccessPolicy(self._host)))
        self._socket = listen("127.0.0.1", self._port)
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def stop(self) -> None:
        self.script.go_on()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.store.close()

    def _breaking(self, app: ASGIApp) -> ASGIApp:
        async def breaking(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if self.cut and message["type"] == "http.response.body":
                    raise OSError("cut")
                await send(message)

            await app(scope, receive, sending)

        return breaking


@pytest.fixture(scope="module")
def hostile(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second bot, whose name is markup."""
    folder = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=hit()>"
    return Path(shutil.copytree(trained, folder))


@pytest.fixture(scope="module")
def served(
    trained: Path, hostile: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    found = Served([trained, hostile], tmp_path_factory.mktemp("db") / "chats.db")
    yield found
    found.stop()


@pytest.fixture
def context(browser: Browser, served: Served) -> Iterator[BrowserContext]:
    """One visitor. Whatever happens, nothing breaks the content policy and no script fails."""
    visitor = browser.new_context(
        base_url=served.url, viewport={"width": WIDE[0], "height": WIDE[1]}, reduced_motion="reduce"
    )
    visitor.set_default_timeout(15_000)
    wrong: list[str] = []
    visitor.on("weberror", lambda error: wrong.append(error.error.stack or str(error.error)))
    visitor.on("dialog", lambda dialog: wrong.append(dialog.message))
    visitor.on(
        "console",
        lambda message: wrong.append(message.text) if "Content Security" in message.text else None,
    )
    served.script.text = "it is 4, Bob."
    yield visitor
    served.script.go_on()
    visitor.close()
    assert wrong == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return opened(context.new_page())


def opened(page: Page, where: str = "/") -> Page:
    page.goto(where)
    page.wait_for_selector("html[data-ready]")
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("What you say").fill(text)
    page.keyboard.press("Enter")


def said(page: Page, text: str) -> None:
    """Says something, and waits for the whole reply."""
    count = messages(page).count()
    say(page, text)
    expect(messages(page)).to_have_count(count + 2)
    done(page)


def done(page: Page) -> None:
    expect(page.locator(".message.last")).to_have_attribute("data-stage", "completed")


def messages(page: Page) -> Locator:
    return page.locator("#messages > .message")


def texts(page: Page) -> list[str]:
    return page.locator("#messages .text").all_text_contents()


def last(page: Page, name: str) -> Locator:
    return page.locator(".message.last").get_by_role("button", name=name)


def bar(page: Page) -> Locator:
    return page.locator("#banner")


def reconnect(page: Page) -> None:
    """Has the page ask at once whether the server is back, if it has not found out itself."""
    page.evaluate("() => dispatchEvent(new Event('online'))")
    expect(bar(page)).to_be_hidden()


def test_a_conversation_and_its_memory(page: Page, served: Served) -> None:
    expect(page.locator("#empty")).to_contain_text("whole memory of this conversation")
    served.script.pause()
    say(page, "what is 2 plus 2?")
    reply = page.locator(".message.last .text")
    expect(reply).not_to_be_empty()
    assert "it is 4, Bob.".startswith(reply.inner_text())
    assert len(reply.inner_text()) < len("it is 4, Bob.")
    expect(page.get_by_role("button", name="Stop the reply")).to_be_visible()
    expect(page.locator("#announcer")).to_be_empty()
    place = reply.bounding_box()
    served.script.go_on()
    done(page)
    assert reply.bounding_box() == place  # nothing jumps when the state and the tools come
    assert texts(page) == ["what is 2 plus 2?", "it is 4, Bob."]
    expect(page.locator("#announcer")).to_have_text("ann: it is 4, Bob.")
    # Every message tells the state's size and age; so does the top.
    chat = page.request.get("/v1/chats").json()["data"][0]
    [turn] = page.request.get(f"/v1/chats/{chat['id']}").json()["responses"]
    size = f"{turn['state']['bytes']} bytes"
    assert page.locator(".message .state").all_text_contents() == [
        f"{size} · 1 message",
        f"{size} · 2 messages",
    ]
    expect(page.locator("#memory")).to_have_text(f"{size} · 2 messages")
    said(page, "and 3?")
    expect(page.locator("#memory")).to_have_text(f"{size} · 4 messages")
    expect(page).to_have_title("what is 2 plus 2? · Elman")


def test_stop_keeps_what_was_said(
    page: Page, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = threading.Event()
    cancel = Submission.cancel

    def noticing(reply: Submission) -> None:
        cancel(reply)
        noticed.set()

    monkeypatch.setattr(Submission, "cancel", noticing)
    served.script.text = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    served.script.pause(6)
    say(page, "the letters, please")
    expect(page.locator(".message.last .text")).to_contain_text("a b")
    page.keyboard.press("Escape")
    assert noticed.wait(15)
    served.script.go_on()
    expect(page.locator(".message.last .state")).to_contain_text("stopped here")
    kept = texts(page)[-1]
    assert served.script.text.startswith(kept)
    assert kept != served.script.text
    said(page, "go on")  # from the state that it left
    assert len(texts(page)) == 4
    opened(page, page.url)
    assert texts(page)[1] == kept


def test_before_anything_was_said_stop_gives_the_words_back(page: Page, served: Served) -> None:
    held: list[Route] = []
    page.route(
        "**/v1/responses", lambda route: held.append(route)
    )  # a network that does not answer
    say(page, "hello?")
    page.get_by_role("button", name="Stop the reply").click()
    expect(page.get_by_label("What you say")).to_have_value("hello?")
    expect(messages(page)).to_have_count(0)
    [route] = held
    route.abort()


def test_branches(page: Page, served: Served) -> None:
    said(page, "one")
    served.script.text = "another first"
    last(page, "Another reply").click()
    expect(page.locator(".message.last .count")).to_have_text("2/2")
    done(page)
    assert texts(page) == ["one", "another first"]
    said(page, "two")
    page.locator(".message.said").nth(1).hover()
    page.locator(".message.said").nth(1).get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Other words").fill("two, in other words")
    page.keyboard.press("Enter")
    expect(page.locator(".message.said .count").nth(1)).to_have_text("2/2")
    done(page)
    assert texts(page) == ["one", "another first", "two, in other words", "another first"]
    # The tree: "one" with two replies, the second of them with two goings on.
    dots = page.locator("#map .dot")
    expect(dots).to_have_count(1 + 2 + 2 * 2)
    expect(page.locator("#map-facts")).to_contain_text("3 branches, 7 states kept.")
    expect(page.locator("#map .here")).to_have_count(1)
    # To another branch by the message's own buttons, and by the map.
    page.get_by_role("button", name="The words before").click()
    assert texts(page)[2] == "two"
    page.get_by_role("button", name="The reply before").first.click()
    assert texts(page) == ["one", "it is 4, Bob."]
    page.get_by_role("button", name="You: two, in other words").click()
    assert texts(page)[2] == "two, in other words"
    # Back to an early state: what is said there begins a branch.
    page.locator("#map .dot.reply.walked").first.click()
    assert texts(page) == ["one", "another first"]
    expect(page.locator("#fork")).to_contain_text("2 messages back")
    page.get_by_role("button", name="To the newest").click()
    assert len(texts(page)) == 4
    messages(page).nth(1).hover()
    messages(page).nth(1).get_by_role("button", name="Back to here").click()
    said(page, "three")
    expect(page.locator("#map-facts")).to_contain_text("4 branches, 9 states kept.")
    # A reload comes back to the same place, in one chat.
    was = texts(page)
    opened(page, page.url)
    assert texts(page) == was
    assert page.locator(".chat", has_text="one").count() == 1


def test_what_is_beside_another_shares_its_chat(page: Page) -> None:
    def respond(**given: object) -> Any:
        return page.request.post("/v1/responses", data={"model": "ann", "input": "one"} | given)

    first = respond().json()["id"]
    second = respond(elman={"beside": first}).json()["id"]
    chat = page.request.get(f"/v1/chats/{first}").json()
    assert [each["id"] for each in chat["responses"]] == [first, second]
    assert page.request.get(f"/v1/chats/{second}").status == 404
    assert respond(elman={"beside": "resp_of_somebody_else"}).status == 404


def test_old_chats_are_resumed_and_deleted(page: Page) -> None:
    said(page, "remember the boat")
    page.keyboard.press("Alt+n")
    expect(messages(page)).to_have_count(0)
    said(page, "remember the horse")
    page.locator(".chat .open", has_text="the boat").click()
    expect(messages(page).first).to_contain_text("the boat")
    said(page, "and its sail")
    expect(page.locator(".chat").first).to_contain_text("4 messages")
    page.go_back()
    expect(messages(page).first).to_contain_text("the horse")
    page.go_forward()
    expect(messages(page).first).to_contain_text("the boat")
    page.get_by_role("button", name="Delete remember the boat").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".chat", has_text="the boat")).to_have_count(1)
    page.get_by_role("button", name="Delete remember the boat").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".chat", has_text="the boat")).to_have_count(0)
    expect(messages(page)).to_have_count(0)
    titles = [chat["title"] for chat in page.request.get("/v1/chats").json()["data"]]
    assert "remember the boat" not in titles


def test_older_chats_are_loaded_when_asked_for(page: Page) -> None:
    for text in ("the first", "the second", "the third"):
        page.keyboard.press("Alt+n")
        said(page, text)
    page.route("**/v1/chats", lambda route: route.continue_(url=f"{route.request.url}?limit=2"))
    opened(page)
    expect(page.locator(".chat")).to_have_count(2)
    page.get_by_role("button", name="Older chats").click()
    expect(page.locator(".chat").nth(2)).to_contain_text("the first")
    expect(page.locator(".chat .open").nth(2)).to_be_focused()
    said(page, "the fourth")
    expect(page.locator(".chat").first).to_contain_text("the fourth")
    # The older ones stay in sight.
    assert page.locator(".chat-title").all_text_contents()[:4] == [
        "the fourth", "the third", "the second", "the first",
    ]  # fmt: skip


def test_feedback_is_kept_with_consent_alone(page: Page) -> None:
    def kept() -> list[dict[str, Any]]:
        lines = page.request.get("/v1/feedback").text().splitlines()
        return [json.loads(line) for line in lines]

    said(page, "what is 1 plus 1?")
    last(page, "Good").click()
    page.get_by_role("button", name="No", exact=True).click()
    expect(last(page, "Good")).to_have_attribute("aria-pressed", "false")
    assert kept() == []
    last(page, "Bad").click()
    page.get_by_role("button", name="Yes, keep it").click()
    expect(last(page, "Bad")).to_have_attribute("aria-pressed", "true")
    last(page, "Say this instead").click()
    page.get_by_label("What should it have said?").fill("it is 2, Bob.")
    page.get_by_role("button", name="Keep this").click()
    expect(bar(page)).to_contain_text("Kept")
    [line] = kept()
    assert (line["rating"], line["instead"]) == ("down", "it is 2, Bob.")
    assert line["messages"][-1] == {"role": "user", "content": "what is 1 plus 1?"}
    opened(page, page.url)
    expect(last(page, "Bad")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Feedback").click()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as JSONL").click()
    assert downloading.value.suggested_filename == "feedback.jsonl"
    assert [json.loads(t) for t in downloading.value.path().read_text("utf-8").splitlines()] == [
        line
    ]
    last(page, "Good").click()
    expect(last(page, "Bad")).to_have_attribute("aria-pressed", "false")
    assert [(each["rating"], each["instead"]) for each in kept()] == [("up", "it is 2, Bob.")]


def test_another_reply_is_picked(page: Page) -> None:
    said(page, "what is 2 plus 2?")
    last(page, "Other replies").click()
    dialog = page.get_by_role("dialog", name="What should it have said?")
    first = dialog.locator(".replies button").first
    expect(first).to_be_focused()
    text = first.inner_text()
    first.click()
    page.get_by_role("button", name="Yes, keep it").click()
    expect(bar(page)).to_contain_text("Kept")
    lines = page.request.get("/v1/feedback").text().splitlines()
    assert text in [json.loads(line)["instead"] for line in lines]


def test_several_bots(page: Page, hostile: Path) -> None:
    said(page, "hello, ann")
    page.get_by_label("Bot").select_option(hostile.name)
    expect(messages(page)).to_have_count(0)
    expect(page.locator("#empty")).to_contain_text(f"{hostile.name} is a small recurrent network")
    opened(page)
    assert page.get_by_label("Bot").input_value() == hostile.name  # was chosen before
    page.locator(".chat .open", has_text="hello, ann").click()
    expect(page.get_by_label("Bot")).to_have_value("ann")


def test_dark_and_light(page: Page) -> None:
    def paper() -> str:
        return str(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark
    page.get_by_role("button", name="Light").click()
    assert paper() == light
    opened(page)
    assert paper() == light  # the choice is kept, against the system's
    page.keyboard.press("Alt+t")
    assert paper() == dark


def test_two_tabs(page: Page, context: BrowserContext) -> None:
    said(page, "from the first tab")
    other = opened(context.new_page(), page.url)
    expect(messages(other)).to_have_count(2)
    assert texts(other) == texts(page)
    other.get_by_label("What you say").fill("half a sentence")
    said(page, "again from the first")
    expect(messages(other)).to_have_count(4)
    expect(other.get_by_label("What you say")).to_have_value("half a sentence")
    other.keyboard.press("Enter")
    expect(messages(other)).to_have_count(6)
    done(other)
    expect(messages(page)).to_have_count(6)
    assert texts(other) == texts(page)
    page.get_by_role("button", name="Delete from the first tab").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(bar(other)).to_contain_text("deleted elsewhere")
    expect(messages(other)).to_have_count(0)


def test_the_server_goes_and_comes_back(page: Page, served: Served) -> None:
    said(page, "are you there?")
    served.stop()
    try:
        say(page, "and now?")
        expect(bar(page)).to_contain_text("The server does not answer.")
        expect(page.locator(".message.last .note")).to_contain_text("Not said yet")
        page.get_by_label("What you say").fill("written meanwhile")
        # The seconds are counted without taking the focus from whoever is at the button.
        button = bar(page).get_by_role("button", name="Try now")
        button.focus()
        told = bar(page).locator("span").inner_text()
        expect(bar(page).locator("span")).not_to_have_text(told)
        page.keyboard.press("Enter")
        expect(bar(page)).to_contain_text("Trying again in")
        expect(button).to_be_focused()
    finally:
        served.start()
    reconnect(page)
    done(page)
    assert texts(page) == ["are you there?", "it is 4, Bob.", "and now?", "it is 4, Bob."]
    expect(page.get_by_label("What you say")).to_have_value("written meanwhile")
    opened(page, page.url)
    expect(page.get_by_label("What you say")).to_have_value("written meanwhile")


def test_what_was_not_said_outlives_a_reload(page: Page, served: Served) -> None:
    page.route("**/v1/responses", lambda route: route.abort())
    say(page, "do not lose me")
    expect(bar(page)).to_contain_text("The server does not answer.")
    page.unroute("**/v1/responses")
    opened(page)
    expect(page.get_by_label("What you say")).to_have_value("do not lose me")


def test_a_reply_that_breaks_off_is_taken_from_the_server(page: Page, served: Served) -> None:
    served.script.pause()
    say(page, "what is 2 plus 2?")
    expect(page.locator(".message.last .text")).not_to_be_empty()
    served.cut = True
    served.script.go_on()
    expect(page.locator(".message.last .note")).to_contain_text("broke off")
    served.cut = False
    reconnect(page)
    expect(page.locator(".message.last .state")).to_contain_text("2 messages")
    shown = texts(page)
    opened(page, page.url)
    assert texts(page) == shown


def test_refusals_are_told_and_the_words_kept(page: Page) -> None:
    page.route(
        "**/v1/responses",
        lambda route: route.fulfill(
            status=413, json={"error": {"message": "<b>too large</b>", "type": "x"}}
        ),
    )
    say(page, "far too much")
    expect(page.locator(".message.last .note")).to_contain_text("<b>too large</b>")
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_label("What you say")).to_have_value("far too much")
    page.unroute("**/v1/responses")
    answers = iter([True, False])

    def busy(route: Route) -> None:
        if next(answers):
            route.fulfill(
                status=429, headers={"Retry-After": "0"}, json={"error": {"message": "-"}}
            )
        else:
            route.continue_()

    page.route("**/v1/responses", busy)
    page.keyboard.press("Enter")
    done(page)


def test_a_key_is_asked_for(browser: Browser, trained: Path, tmp_path: Path) -> None:
    closed = Served([trained], tmp_path / "db", host="192.0.2.1")
    try:
        _, secret = Keys(closed.store).add("somebody")
        page = browser.new_page(base_url=closed.url)
        page.goto("/")
        page.get_by_label("Key", exact=True).fill("wrong")
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("dialog")).to_contain_text("not accepted")
        page.get_by_label("Key", exact=True).fill(secret)
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        said(page, "hello")
        opened(page, page.url)
        assert texts(page)[0] == "hello"
        assert secret not in page.evaluate("() => JSON.stringify(localStorage)")
        page.context.close()
    finally:
        closed.stop()


def test_by_keyboard_alone(page: Page) -> None:
    keys = page.keyboard
    keys.press("Control+/")
    expect(page.get_by_role("dialog")).to_contain_text("Everything by keyboard")
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("Alt+s")
    keys.type("first")
    keys.press("Enter")
    expect(messages(page)).to_have_count(2)
    done(page)
    keys.press("ArrowUp")
    expect(messages(page).nth(1)).to_be_focused()
    keys.press("r")
    expect(page.locator(".message.last .count")).to_have_text("2/2")
    done(page)
    keys.press("Alt+s")
    keys.press("ArrowUp")
    keys.press("ArrowLeft")
    expect(page.locator(".message.last .count")).to_have_text("1/2")
    expect(messages(page).nth(1)).to_be_focused()
    keys.press("ArrowUp")
    expect(messages(page).nth(0)).to_be_focused()
    keys.press("e")
    keys.type("first, edited")
    keys.press("Enter")
    expect(messages(page).nth(0)).to_contain_text("first, edited")
    done(page)
    keys.press("Alt+b")
    expect(page.locator("#map .here")).to_be_focused()
    keys.press("ArrowLeft")
    keys.press("Enter")
    expect(messages(page).nth(0)).not_to_contain_text("edited")
    keys.press("Alt+c")
    expect(page.locator("#chat-list [aria-current]")).to_be_focused()
    keys.press("Delete")
    expect(page.get_by_role("dialog")).to_contain_text("Delete this chat?")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    keys.press("Escape")
    keys.press("Alt+n")
    expect(page.get_by_label("What you say")).to_be_focused()
    # Tab goes round everything that is in sight, and every stop shows that it has the focus.
    for _ in range(12):
        keys.press("Tab")
        shown = page.evaluate(
            "() => { const e = document.activeElement, box = e.closest('.composer') ?? e;"
            " return e === document.body || e.matches('select, svg *')"
            " || getComputedStyle(box).outlineStyle !== 'none'; }"
        )
        assert shown


def test_on_a_phone(browser: Browser, served: Served) -> None:
    phone = browser.new_context(
        base_url=served.url, viewport={"width": NARROW[0], "height": NARROW[1]},
        has_touch=True, is_mobile=True, reduced_motion="reduce",
    )  # fmt: skip
    page = opened(phone.new_page())
    said(page, "a long word: " + "x" * 300)
    assert page.evaluate("() => document.documentElement.scrollWidth") == NARROW[0]
    expect(page.locator("#chats")).not_to_be_in_viewport()
    page.get_by_role("button", name="Chats", exact=True).tap()
    expect(page.locator("#chats")).to_be_in_viewport(ratio=1)
    expect(page.locator("#chat-list [aria-current]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#chats")).not_to_be_in_viewport()
    expect(page.get_by_role("button", name="Chats", exact=True)).to_be_focused()
    page.get_by_role("button", name="Branches", exact=True).tap()
    expect(page.locator("#map")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Close the branches").tap()
    expect(page.locator("#map")).not_to_be_in_viewport()
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24  # WCAG 2.5.8
    phone.close()


def test_focus_waits_in_the_drawer_for_a_chat_that_is_not_listed_yet(
    browser: Browser, served: Served
) -> None:
    page = opened(
        browser.new_page(base_url=served.url, viewport={"width": NARROW[0], "height": NARROW[1]})
    )
    held: list[Route] = []
    page.route("**/v1/chats", lambda route: held.append(route))
    said(page, "hello")
    page.get_by_role("button", name="Chats", exact=True).click()
    expect(page.locator("#chat-list")).to_be_focused()
    for route in held:
        route.continue_()
    expect(page.locator("#chat-list [aria-current]")).to_be_focused()
    page.close()


def test_why(page: Page) -> None:
    said(page, "what is 2 plus 1?")
    last(page, "Why this?").click()
    expect(messages(page).nth(0).locator(".attribution")).to_contain_text("nats")
    expect(page.locator(".attribution:visible")).to_have_count(1)


def test_why_where_another_bot_has_taken_the_name(page: Page) -> None:
    said(page, "what is 2 plus 1?")

    def forgotten(route: Route) -> None:
        answer = route.fetch().json()
        answer["elman"]["attribution"] = None
        route.fulfill(json=answer)

    page.route("**/v1/responses/*?why=true", forgotten)
    last(page, "Why this?").click()
    expect(bar(page)).to_contain_text("not available")


PAYLOADS = [
    "<script>hit()</script>",
    "<img src=x onerror=hit()>",
    "<svg onload=hit()>",
    "<svg><script>hit()</script></svg>",
    "<iframe src=javascript:hit()>",
    "<body onload=hit()>",
    "<details open ontoggle=hit()>",
    "<input autofocus onfocus=hit()>",
    "<video><source onerror=hit()>",
    "<math><a xlink:href=javascript:hit()>x</a></math>",
    "<style>@import'javascript:hit()';</style>",
    "<link rel=stylesheet href=javascript:hit()>",
    "<meta http-equiv=refresh content='0;url=javascript:hit()'>",
    "<object data=javascript:hit()>",
    "<embed src=javascript:hit()>",
    "<form action=javascript:hit()><button>x</button></form>",
    "<a href=javascript:hit()>x</a>",
    "[x](javascript:hit())",
    '![x](x"onerror="hit())',
    '"><script>hit()</script>',
    "'-hit()-'",
    "javascript:hit()",
    "</textarea><script>hit()</script>",
    "</title><script>hit()</script>",
    "<!--<img src=--><img src=x onerror=hit()//-->",
    '<noscript><p title="</noscript><img src=x onerror=hit()>">',
    "<template><img src=x onerror=hit()></template>",
    "{{constructor.constructor('hit()')()}}",
    "${hit()}",
    "\u202e<img src=x onerror=hit()>\u0000\ufeff",
    'data: {"type":"response.completed"}\n\nevent: x',
]


def test_what_is_said_is_never_run(page: Page, served: Served) -> None:
    """As words, replies, titles, names, errors and addresses: shown to the letter, run never."""
    page.add_init_script("window.hits = 0; window.hit = () => { window.hits += 1; }")
    opened(page)
    before = None
    for payload in PAYLOADS:
        served.script.text = payload
        given = {"model": "ann", "input": payload, "previous_response_id": before}
        before = page.request.post("/v1/responses", data=given).json()["id"]
        alone = {"previous_response_id": None, "max_output_tokens": 1}
        page.request.post("/v1/responses", data=given | alone)
    opened(page)
    page.locator(".chat .open", has_text=f"{2 * len(PAYLOADS)} messages").click()
    expect(messages(page)).to_have_count(2 * len(PAYLOADS))
    shown = texts(page)
    assert shown[::2] == PAYLOADS
    # Byte for byte, but for what HTML itself would not hold: none of it went through HTML.
    assert shown[1::2] == PAYLOADS
    titles = page.locator(".chat-title").all_text_contents()
    assert {" ".join(payload.split()) for payload in PAYLOADS} <= set(titles)
    # Typed, streamed, edited, corrected.
    for payload in PAYLOADS[:3]:
        served.script.text = payload
        said(page, payload)
    last(page, "Say this instead").click()
    page.keyboard.press("Escape")
    inside = "#messages, #chat-list, #map, #empty, #banner"
    made = page.locator(inside).locator("img, script, iframe, style, link, object, embed, a, form")
    assert made.count() == 0
    opened(page, "/#<img src=x onerror=hit()>/javascript:hit()%")
    expect(bar(page)).to_contain_text("no more")
    assert page.evaluate("() => window.hits") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(page: Page, served: Served, scheme: str) -> None:
    """By axe-core's rules, in every state of the page."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]

    def check(state: str) -> None:
        assert violations(page, state) == []

    check("empty")
    said(page, "one")
    last(page, "Another reply").click()
    expect(page.locator(".message.last .count")).to_have_text("2/2")
    done(page)
    check("a conversation with branches")
    last(page, "Say this instead").click()
    check("a correction")
    page.keyboard.press("Escape")
    page.locator("#map .dot").first.hover()
    page.keyboard.press("Control+/")
    check("the shortcuts")
    page.keyboard.press("Escape")
    last(page, "Good").click()
    check("the question of consent")
    page.get_by_role("button", name="No", exact=True).click()
    page.route("**/v1/responses", lambda route: route.abort())
    page.route("**/health", lambda route: route.abort())
    say(page, "are you there?")
    expect(bar(page)).to_contain_text("Trying again")
    check("the server gone")
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    check("narrow")
    page.get_by_role("button", name="Chats", exact=True).click()
    check("the drawer")


def test_the_policy_is_strict(page: Page, served: Served) -> None:
    policy = page.request.get("/").headers["content-security-policy"]
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy
    hosts = {request.split("/")[2] for request in requests_of(page)}
    assert hosts == {served.url.split("/")[2]}


def requests_of(page: Page) -> list[str]:
    return list(page.evaluate("() => performance.getEntriesByType('resource').map((r) => r.name)"))


# What the modules compute, without drawing

Ran = Callable[[str, Any], Any]


@pytest.fixture
def module(page: Page) -> Ran:
    """Runs a function of a module of the page."""

    def run(code: str, argument: Any = None) -> Any:
        return page.evaluate(f"async (given) => {{ {code} }}", argument)

    return run


def test_events_are_read_however_they_are_cut(module: Ran) -> None:
    """At every byte, with every end of line that the standard knows."""
    text = (
        'event: a\ndata: {"x": "é\U0001f30a"}\n\n: nothing\n\n'
        'data: {"y":\ndata: 2}\n\ndata: [DONE]\n\n'
    )
    found = module(
        """
        const { events } = await import("/page/stream.js");
        const wrong = [];
        for (const end of ["\\n", "\\r\\n", "\\r"]) {
          const bytes = new TextEncoder().encode(given.replaceAll("\\n", end));
          for (let cut = 0; cut <= bytes.length; cut++) {
            const parts = [bytes.slice(0, cut), bytes.slice(cut)];
            const body = new ReadableStream({
              start(c) { parts.filter((p) => p.length).forEach((p) => c.enqueue(p)); c.close(); },
            });
            const got = [];
            for await (const each of events(body)) got.push(each);
            const want = [{ event: "a", data: { x: "é🌊" } }, { event: "message", data: { y: 2 } }];
            if (JSON.stringify(got) !== JSON.stringify(want)) wrong.push([end, cut, got]);
          }
        }
        return wrong;
        """,
        text,
    )
    assert found == []


def test_the_tree_is_laid_out(module: Ran) -> None:
    """Every turn once, under its parent, no two dots in one place; 5,000 turns deep as well."""
    found = module(
        """
        const { Tree } = await import("/page/tree.js");
        const turn = (id, parent, said = id) => ({ id, parent, said, reply: id, at: 0 });
        const small = new Tree("a", "m", [
          turn("a", null, "x"), turn("b", null, "x"), turn("c", "a"), turn("d", "a"),
          turn("e", "c"),
        ]);
        const nodes = small.laidOut();
        const places = new Set(nodes.map((n) => `${n.column},${n.row}`));
        const down = nodes.every((n) => !n.from || n.row === n.from.row + 1);
        const replies = nodes.filter((n) => n.kind === "reply").map((n) => n.id);
        const deep = new Tree("0", "m");
        for (let n = 0; n < 5000; n++) deep.add(turn(String(n), n ? String(n - 1) : null));
        return {
          count: nodes.length, places: places.size, down, replies, straight: nodes.at(-1).column,
          deep: deep.laidOut().length, path: deep.path("4999").length, newest: deep.newest(null),
          shared: small.replies(small.get("a")), words: small.sayings(small.get("d")),
        };
        """,
        None,
    )
    assert found == {
        "count": 9, "places": 9, "down": True, "replies": ["a", "c", "e", "d", "b"], "straight": 2,
        "deep": 10000, "path": 5000, "newest": "4999", "shared": ["a", "b"], "words": ["c", "d"],
    }  # fmt: skip
