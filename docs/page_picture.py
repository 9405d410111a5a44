"""Makes docs/page.png: the base bot on the page, light and wide beside dark and narrow.

Needs Chromium (`apt-get install chromium`): `python docs/page_picture.py`.
"""

import io
import shutil
import threading
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from elman.chat import MemoryStore
from elman.model.checkpoint import BASE
from elman.serve.http.access import AccessPolicy
from elman.serve.http.app import create_app
from elman.serve.run import listen, load
from elman.serve.service import Service

SAID = ("Hello! How are you?", "What did you do today?", "Do you like music?")


def converse(page: Page) -> None:
    for text in SAID:
        page.get_by_label("What you say").fill(text)
        page.keyboard.press("Enter")
        _done(page)
    for turn in (2, 1):
        reply = page.locator(".message.reply").nth(turn)
        reply.hover()
        reply.get_by_role("button", name="Another reply").click()
        expect(reply.locator(".count")).to_have_text("2/2")
        _done(page)
    page.get_by_role("button", name="The reply before").click()
    page.mouse.move(640, 5)
    page.get_by_label("What you say").focus()


def _done(page: Page) -> None:
    expect(page.locator(".message.last")).to_have_attribute("data-stage", "completed")


def main() -> None:
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium"
    listening = listen("127.0.0.1", 0)
    app = create_app(Service(load([BASE]), MemoryStore()), AccessPolicy())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        wide = browser.new_page(viewport={"width": 1280, "height": 800})
        wide.goto(url)
        converse(wide)
        phone = browser.new_context(
            viewport={"width": 390, "height": 800}, is_mobile=True, color_scheme="dark"
        ).new_page()
        phone.goto(wide.url)
        expect(phone.locator(".message")).to_have_count(2 * len(SAID))
        shots = [Image.open(io.BytesIO(page.screenshot())) for page in (wide, phone)]
        browser.close()
    server.should_exit = True
    thread.join()
    picture = Image.new("RGB", (sum(shot.width for shot in shots), shots[0].height))
    picture.paste(shots[0], (0, 0))
    picture.paste(shots[1], (shots[0].width, 0))
    picture.save(Path(__file__).with_name("page.png"), optimize=True)


if __name__ == "__main__":
    main()
