"""A page of the lens in a real browser."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page


class Opened:
    """A page in the browser, and whatever went wrong in it."""

    def __init__(
        self, browser: Browser, path: Path, html: str, place: str = "", **options: Any
    ) -> None:
        path.write_text(html, "utf-8")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + place)
