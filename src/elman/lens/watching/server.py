"""The page of a run, served to this machine alone: four files, and the log as it grows."""

import json
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from elman.data.files import LOG
from elman.errors import ElmanError
from elman.lens.watching.log import LogPosition, check, read_config, read_on

HOST = "127.0.0.1"
WATCH_PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/watch.css": ("watch.css", "text/css"),
    "/watch.js": ("watch.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def make_server(run: Path, port: int = 0) -> ThreadingHTTPServer:
    """Make a server of one run's page, bound to the loopback address.

    Args:
        run: the run's folder.
        port: 0 takes a free one.

    Raises:
        ElmanError: where no run is there, or the port is taken.
    """
    check(run)
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Handler, run))
    except OSError as error:
        raise ElmanError(f"port {port}: {error.strerror}; another --port, or none") from None
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "elman", ""

    def __init__(self, run: Path, *arguments: Any) -> None:
        self._run = run
        super().__init__(*arguments)

    def do_GET(self) -> None:
        # A page of another site that has its name point here would send that name.
        host, _, _ = self.headers.get("Host", "").rpartition(":")
        if host not in (HOST, "localhost"):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"ask for 127.0.0.1")
            return
        url = urlsplit(self.path)
        if url.path in FILES:
            name, kind = FILES[url.path]
            self._send(HTTPStatus.OK, kind, (WATCH_PAGE / name).read_bytes())
        elif url.path == "/run":
            self._json({"name": self._run.resolve().name, "config": read_config(self._run)})
        elif url.path == "/log":
            self._json(self._log(parse_qs(url.query)))
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here")

    def _log(self, query: dict[str, list[str]]) -> dict[str, Any]:
        try:
            place = LogPosition(
                query.get("log", [""])[0], max(0, int(query.get("offset", ["0"])[0]))
            )
        except ValueError:
            place = LogPosition()
        part = read_on(self._run, place)
        try:
            age = time.time() - (self._run / LOG).stat().st_mtime
        except OSError:
            age = 0.0
        return vars(part) | {"place": vars(part.place), "age": round(age, 1)}

    def _json(self, value: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the base's name)
        """Says nothing: the terminal belongs to the command."""
