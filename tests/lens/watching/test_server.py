"""The page, served and looked at in a real browser."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from elman.errors import ElmanError
from elman.lens.watching.server import make_server

MakeRun = Callable[..., Path]


@contextmanager
def serving(run: Path) -> Iterator[ThreadingHTTPServer]:
    with make_server(run) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def get(server: ThreadingHTTPServer, path: str, host: str = "") -> http.client.HTTPResponse:
    address, port = str(server.server_address[0]), server.server_address[1]
    connection = http.client.HTTPConnection(address, port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"{address}:{port}"})
    return connection.getresponse()


def test_it_listens_on_loopback_under_a_strict_policy(make_run: MakeRun) -> None:
    with serving(make_run()) as server:
        assert server.server_address[0] == "127.0.0.1"
        answer = get(server, "/")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert b"<script>" not in answer.read()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        with pytest.raises(ElmanError, match="another --port"):
            make_server(Path(server.RequestHandlerClass.args[0]), server.server_address[1])  # type: ignore[attr-defined]


def test_names_of_other_sites_and_other_files_are_refused(make_run: MakeRun) -> None:
    with serving(make_run()) as server:
        assert get(server, "/", "evil.example:80").status == 403
        assert get(server, "/", "localhost:1").status == 200
        for path in ("/config.json", "/../config.json", "/%2e%2e/config.json", "/page/index.html"):
            assert get(server, path).status == 404


def test_the_log_goes_on_where_it_was(make_run: MakeRun) -> None:
    run = make_run(ended=False)
    with serving(run) as server:
        first = json.load(get(server, "/log"))
        assert len([e for e in first["events"] if e["kind"] == "step"]) == 120
        place = first["place"]
        with (run / "log.jsonl").open("a") as log:
            log.write('{"kind": "step", "step": 121}\n{"kind": "step", "st')
        then = json.load(get(server, f"/log?log={place['log']}&offset={place['offset']}"))
        assert [event["step"] for event in then["events"]] == [121]
        assert not then["anew"]
        wrong = json.load(get(server, "/log?log=other&offset=5"))
        assert wrong["anew"]
        assert wrong["events"][0] == first["events"][0]
        assert json.load(get(server, "/log?offset=x"))["events"]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    # The server ends before the page does.
    assert [error for error in errors if "ERR_CONNECTION_REFUSED" not in error] == []


def open_at(page: Page, server: ThreadingHTTPServer) -> None:
    page.goto(f"http://{server.server_address[0]!s}:{server.server_address[1]}/")


def test_the_page_shows_a_run_and_its_texts_as_texts(page: Page, make_run: MakeRun) -> None:
    with serving(make_run()) as server:
        open_at(page, server)
        page.wait_for_selector("#samples .bot")
        assert page.inner_text("#name") == "ann"
        assert page.inner_text("#state") == "finished"
        assert "LSTM 16" in page.inner_text("#about")
        assert "120" in page.inner_text("#numbers")
        assert "50 %" in page.inner_text("#numbers")
        assert page.locator("#loss circle").count() == 3
        assert page.locator("#maps svg").count() == 2
        assert page.locator("#maps svg >> nth=0").locator("rect:not(.empty)").count() == 4 * 4
        assert "<i>haha</i>" in page.inner_text("#warnings")
        assert "<script>" in page.inner_text("#samples")
        assert page.locator("#samples img, #samples script, #warnings i").count() == 0
        assert page.evaluate("window.hacked") is None


def test_the_page_grows_with_the_run(page: Page, make_run: MakeRun) -> None:
    run = make_run(ended=False)
    with serving(run) as server:
        open_at(page, server)
        page.wait_for_selector("#state.running")
        text = (run / "log.jsonl").read_text()
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(json.loads(text.splitlines()[0]) | {"step": 121}) + "\n")
        number = page.locator("#numbers dd").first
        expect(number).to_contain_text("121")
        # Resumed: another file is in its place, in which the last steps are gone.
        (run / "new").write_text("".join(text.splitlines(keepends=True)[:50]))
        (run / "new").replace(run / "log.jsonl")
        expect(number).not_to_contain_text("121")


def test_a_run_that_has_no_log_yet(page: Page, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with serving(tmp_path) as server:
        open_at(page, server)
        page.wait_for_selector("text=preparing: no step yet")


def test_charts_are_read_by_keyboard(page: Page, make_run: MakeRun) -> None:
    with serving(make_run()) as server:
        open_at(page, server)
        page.wait_for_selector("#samples .bot")
        page.focus("#norm svg.chart")
        before = page.inner_text("#norm output")
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        after = page.inner_text("#norm output")
        assert after != before
        assert after.startswith("Step 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_serious_for_axe_and_nothing_too_wide(
    browser: Browser, make_run: MakeRun, scheme: Any, width: int
) -> None:
    with serving(make_run()) as server:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        open_at(page, server)
        page.wait_for_selector("#samples .bot")
        page.click("summary")
        found = Axe().run(page).response["violations"]
        assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()
