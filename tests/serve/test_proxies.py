"""Behind a real nginx and a real Caddy, where they are installed: as docs/proxy.md shows them."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from elman.serve.http.access import AccessPolicy

from .conftest import Served
from .test_server import ask

Serving = Callable[..., Served]
NAME = "chat.example.org"
DOCS = Path(__file__).parents[2] / "docs" / "proxy.md"

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen unix:{folder}/proxy.sock; {location} }}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
}}
http://{name} {{
    bind unix/{folder}/proxy.sock
    {directives}
}}
"""


def documented(kind: str, served: Served) -> str:
    """The directives of docs/proxy.md for a proxy, with the port of a server."""
    found = re.search(rf"```{kind}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None, kind
    block = found[1].replace("http://127.0.0.1:8000", served.url)
    block = block.replace("127.0.0.1:8000", served.url.removeprefix("http://"))
    inside = block[block.index("location" if kind == "nginx" else "reverse_proxy") :]
    return inside.rpartition("}")[0]


@contextmanager
def proxy(command: list[str], folder: Path, key: str | None) -> Iterator[httpx.Client]:
    """A client that reaches a proxy, once it listens."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (folder / "proxy.sock").exists():
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.01)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.HTTPTransport(uds=str(folder / "proxy.sock"), retries=5)
        base = f"http://{NAME}"
        with httpx.Client(
            transport=transport, base_url=base, headers=headers, timeout=60
        ) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def nginx(folder: Path, location: str) -> list[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, location=location))
    return ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def caddy(folder: Path, directives: str) -> list[str]:
    config = folder / "Caddyfile"
    config.write_text(CADDY.format(folder=folder, directives=directives, name=NAME))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


PROXIES = [pytest.param("nginx", nginx, id="nginx"), pytest.param("caddy", caddy, id="caddy")]
PLAIN = {"nginx": "location / {{ proxy_pass {url}; }}", "caddy": "reverse_proxy {url}"}


@pytest.mark.parametrize(("kind", "command"), PROXIES)
def test_a_plain_proxy_publishes_nothing(
    serving: Serving, tmp_path: Path, kind: str, command: Callable[[Path, str], list[str]]
) -> None:
    served = serving()
    with served.client() as http:
        ask(http, "nobody else is to read this")
    plain = PLAIN[kind].format(url=served.url)
    with proxy(command(tmp_path, plain), tmp_path, None) as http:
        for path in ("/v1/chats", "/v1/models", "/metrics"):
            assert http.get(path).status_code in (401, 403)


@pytest.mark.parametrize(("kind", "command"), PROXIES)
def test_a_proxy_as_documented(
    serving: Serving, tmp_path: Path, kind: str, command: Callable[[Path, str], list[str]]
) -> None:
    served = serving(policy=AccessPolicy(require_key=True, allow_hosts=[NAME]))
    secret = served.key("phone")
    directives = documented(kind, served)
    with proxy(command(tmp_path, directives), tmp_path, secret) as http:
        assert http.get("/").status_code == 200
        own = {"Origin": f"http://{NAME}"}
        body = {"model": "ann", "input": "hello", "max_output_tokens": 4096, "stream": True}
        with http.stream("POST", "/v1/responses", json=body, headers=own) as stream:
            assert stream.status_code == 200
            lines = stream.iter_lines()
            assert next(lines) == "event: response.created"
            rest = "".join(lines)
            assert "response.completed" in rest or "response.incomplete" in rest
        with http.stream("POST", "/v1/responses", json=body | {"temperature": 2}) as stream:
            next(stream.iter_lines())
        while served.service.models["ann"].batcher.open:  # who left the proxy left the server
            assert http.get("/health").status_code == 200
        http.headers.pop("Authorization")
        assert http.get("/v1/chats").status_code == 401
