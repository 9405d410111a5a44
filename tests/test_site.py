"""The documentation as a site: built strictly, for everybody to read, and asking nobody else."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.shown import ROOT

pytestmark = pytest.mark.slow

SITE = ROOT / "site"
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def built() -> Path:
    pytest.importorskip("zensical", reason="pip install '.[docs]'")
    script = str(ROOT / "docs" / "build_site.py")
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return SITE


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    handler = partial(Silent, directory=str(built))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_page_is_there(built: Path) -> None:
    pages = {page.stem for page in ROOT.glob("docs/*.md")}
    assert pages <= {page.stem for page in built.glob("*.html")}
    assert (built / "llms.txt").is_file()
    assert not list(built.glob("*.py"))


def test_formulas_need_no_script(built: Path) -> None:
    page = (built / "bptt.html").read_text("utf-8")
    assert page.count("<math") > 50
    assert 'class="arithmatex"' not in page


@pytest.mark.parametrize("page", ["index", "first_bot", "bptt"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(page: str, scheme: str, address: str, browser: Browser) -> None:
    """By axe-core's rules of WCAG 2.1 AA; and nothing is asked of another server."""
    tab = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{address}/{page}.html")
    tab.wait_for_load_state("networkidle")
    found = Axe().run(tab, options=WCAG)
    tab.close()
    assert asked
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not found.response["violations"], found.generate_report()
