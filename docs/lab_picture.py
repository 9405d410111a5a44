"""Makes docs/lab.png: the laboratory of the tiny page, after 20 updates of an LSTM.

Needs Chromium (`apt-get install chromium`): `python docs/lab_picture.py`.
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from elman.lens.tiny import tiny_step
from elman.lens.tiny_page import page as tiny_page


def main() -> None:
    chromium = shutil.which("chromium")
    assert chromium, "there is no chromium"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "tiny.html")
        path.write_text(tiny_page(tiny_step("lstm", 3)), "utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(path.as_uri() + "#7")
        page.get_by_role("button", name="20 updates").click()
        page.locator("#lab-desk").screenshot(path=Path(__file__).with_name("lab.png"))
        browser.close()


if __name__ == "__main__":
    main()
