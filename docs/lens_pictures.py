"""Makes docs/tiny.png, the page of `elman lens --tiny`, and docs/lab.png, its laboratory at work.

Needs Chromium (`apt-get install chromium`): `python docs/lens_pictures.py`.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from elman.lens.tiny import tiny_step
from elman.lens.tiny_page import page as tiny_page

DOCS = Path(__file__).parent


def main() -> None:
    """See the top of this file."""
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        path = Path(folder, "tiny.html")

        path.write_text(tiny_page(tiny_step("rnn", 5)), "utf-8")
        page = browser.new_page(viewport={"width": 1300, "height": 1250})
        page.goto(path.as_uri())
        page.screenshot(path=DOCS / "tiny.png")

        path.write_text(tiny_page(tiny_step("lstm", 3)), "utf-8")
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(path.as_uri() + "#7")
        page.get_by_role("button", name="20 updates").click()  # after 20 updates of an LSTM
        page.locator("#lab-desk").screenshot(path=DOCS / "lab.png")
        browser.close()


if __name__ == "__main__":
    main()
