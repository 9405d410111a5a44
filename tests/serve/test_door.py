"""Who gets in: names, sites, proxies, keys, methods, and what is hardly HTTP."""

import json
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import ElmanError
from elman.serve.http.access import AccessPolicy, host_name
from elman.serve.http.errors import ApiError
from elman.serve.http.server import make_server
from elman.serve.run import check_policy, listen_unix
from elman.serve.service import Service
from elman.serve.store.keys import Keys

from .conftest import Served
from .test_server import ask

Serving = Callable[..., Served]


def raw(served: Served, sent: bytes) -> tuple[int, bytes, bytes]:
    """Send bytes; return the status, the head and the body of the answer, until it is closed."""
    address = httpx.URL(served.url)
    with socket.create_connection((address.host, address.port or 80)) as connection:
        connection.sendall(sent)
        found = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, body


def get(*lines: bytes, target: bytes = b"/v1/models", version: bytes = b"1.1") -> bytes:
    first = b"GET " + target + b" HTTP/" + version
    return b"\r\n".join([first, *lines, b"Connection: close", b"", b""])


MALFORMED_HOSTS = [
    b"", b"a b", b"local host", b"localhost:port", b"localhost:99999", b"localhost:80:80",
    b"http://localhost", b"localhost/x", b"user@localhost", "löcal".encode(), b"[::1", b"[]",
    b"a" * 5000, b"localhost,localhost", b"%6cocalhost", b"-:-",
]  # fmt: skip


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_a_malformed_host_is_refused(served: Served, host: bytes) -> None:
    status, head, body = raw(served, get(b"Host: " + host))
    assert 400 <= status < 500
    assert b"application/json" in head.lower()
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        get(b"Host: localhost", b"Host: localhost"),
        get(),
        get(b"Host: localhost", target=b"http://evil.example/v1/models"),
        get(b"Host: localhost", target=b"*"),
        get(b"Host: localhost", target=b"/page/%00"),
        get(b"Host: localhost", target=b"/v1/chats/%00%ff"),
        get(b"Host: localhost", target=b"/" + b"a" * 60_000),
        get(b"Host: localhost", b"X: " + b"a" * 200_000),
        get(b"Host: localhost", target="/ä".encode()),
        get(b"Host: localhost", version=b"9.9"),
        get(b"Host: localhost", b"Transfer-Encoding: gzip"),
        get(b"Host: localhost", b"Content-Length: 1", b"Content-Length: 2"),
        get(b"Host: localhost", b"Content-Length: -1"),
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_hardly_http_is_refused_in_json(served: Served, sent: bytes) -> None:
    status, head, body = raw(served, sent)
    assert 400 <= status < 500
    assert b"application/json" in head.lower()
    assert json.loads(body)["error"]["message"]


def test_a_request_to_speak_websocket_is_answered_as_http(served: Served) -> None:
    upgrade = [b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    lines = [b"Host: localhost", b"Sec-WebSocket-Version: 13", *upgrade]
    sent = b"\r\n".join([b"GET / HTTP/1.1", *lines, b"Connection: Upgrade, close", b"", b""])
    assert raw(served, sent)[0] == 200


@given(st.text(max_size=40))
def test_a_host_is_a_name_or_malformed(header: str) -> None:
    try:
        name = host_name(header)
    except ApiError:
        return
    assert header.lower().startswith(name)
    assert not set(name) & set("/@ ,%\\")


@pytest.mark.parametrize(
    "origin", [b"", b"localhost", b"a b", "https://ä".encode(), b"http://[", b"null", b"x" * 5000]
)
def test_a_malformed_origin_is_refused(served: Served, origin: bytes) -> None:
    status, _, body = raw(served, get(b"Host: localhost", b"Origin: " + origin))
    assert status in (400, 403)
    assert json.loads(body)["error"]["message"]


def test_two_origins_are_refused(served: Served) -> None:
    lines = [b"Host: localhost", b"Origin: http://localhost", b"Origin: http://localhost"]
    assert raw(served, get(*lines))[0] == 400


def test_head_is_answered_like_get_without_the_body(served: Served) -> None:
    with served.client() as http:
        first = ask(http, "hello")["id"]
        model = http.get("/v1/models").json()["data"][0]["id"]
        paths = [
            "/", "/health", "/metrics", "/page/main.js", "/openapi.json", "/v1/models",
            f"/v1/models/{model}", "/v1/chats", f"/v1/chats/{first}", f"/v1/responses/{first}",
            "/v1/feedback", "/nothing", "/v1/chats/nothing",
        ]  # fmt: skip
        for path in paths:
            whole, head = http.get(path), http.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b""), path
            assert head.headers["content-type"] == whole.headers["content-type"]
        assert http.head("/v1/responses").status_code == 405


PROXIED = [
    {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-Proto": "https"}, {"X-Real-IP": "1.2.3.4"},
    {"X-Forwarded-Host": "chat.example.org"}, {"Forwarded": "for=203.0.113.9"}, {"Via": "1.1 x"},
    {"X-Client-IP": "1.2.3.4"}, {"Fly-Client-IP": "1.2.3.4"}, {"X-Cluster-Client-IP": "1.2.3.4"},
    {"X-Original-For": "1.2.3.4"}, {"CF-Connecting-IP": "1.2.3.4"},
]  # fmt: skip


@pytest.mark.parametrize("headers", PROXIED)
def test_what_came_through_a_proxy_needs_a_key(serving: Serving, headers: dict[str, str]) -> None:
    served = serving()
    with served.client() as http:
        refused = http.get("/v1/chats", headers=headers)
        assert refused.status_code == 401
        assert "elman keys add" in refused.json()["error"]["message"]
    with served.client(served.key("phone")) as http:
        assert http.get("/v1/chats", headers=headers).status_code == 200


def test_old_http_is_a_proxys(serving: Serving) -> None:
    served = serving()
    assert raw(served, get(b"Host: localhost", version=b"1.0"))[0] == 401
    assert raw(served, get(b"Host: localhost", version=b"1.0", target=b"/health"))[0] == 200


BODIES = [
    (b"", "the request has no body"),
    (b"[]", "the body must be a JSON object"),
    (b"{", "the body of the request is not JSON: Expecting property name"),
    (b"{}{}", "the body of the request is not JSON: Extra data at character 2"),
    (b'{"a":' * 100_000, "the body of the request cannot be read as JSON: it is nested too deep"),
    (b'{"seed":' + b"1" * 10_000 + b"}", "the body of the request cannot be read as JSON"),
    (b'{"model": "\\ud800"}', "some text has half of a character (a lone surrogate)"),
    (b'{"model": "ann", "messages": []}', "messages: must have at least 1 items"),
    (json.dumps({"model": "ann", "messages": [{"role": "user", "content": "a"}] * 8193}).encode(),
     "messages: must have at most 8192 items"),
    (b'{"model": "ann", "messages": [5]}', "messages.0: must be a JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_a_body_that_cannot_be_read_is_named_in_one_sentence(
    served: Served, body: bytes, said: str
) -> None:
    with served.client() as http:
        headers = {"Content-Type": "application/json"}
        refused = http.post("/v1/chat/completions", content=body, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith(said)
    assert refused.json()["error"]["param"] in (None, "messages", "messages.0")


def test_keys_can_be_asked_for_and_done_without(serving: Serving, tmp_path: Path) -> None:
    strict = serving(tmp_path / "1.db", policy=AccessPolicy(require_key=True))
    with strict.client() as http, strict.client("unused") as dummy:
        assert http.get("/v1/chats").status_code == dummy.get("/v1/chats").status_code == 401
    free = serving(tmp_path / "2.db", policy=AccessPolicy(require_key=False))
    free.key("phone")
    with free.client() as http, free.client("wrong") as wrong:
        assert http.get("/v1/chats").status_code == 200
        assert http.get("/v1/chats", headers={"Via": "1.1 x"}).status_code == 401
        assert wrong.get("/v1/chats").status_code == 401


def test_another_name_is_answered_where_it_is_allowed(serving: Serving) -> None:
    served = serving(policy=AccessPolicy(allow_hosts=["chat.example.org"]))
    secret = served.key("phone")
    with served.client(secret) as http:
        for host, status in (
            ("chat.example.org", 200), ("CHAT.example.org:443", 200), ("localhost:1", 200),
            ("other.example.org", 403),
        ):  # fmt: skip
            assert http.get("/v1/models", headers={"Host": host}).status_code == status
        refused = http.get("/v1/models", headers={"Host": "other.example.org"})
        assert "--allow-host" in refused.json()["error"]["message"]


def test_a_proxys_name_is_nobody_at_this_computer(serving: Serving) -> None:
    served = serving(policy=AccessPolicy(allow_hosts=["chat.example.org"]))
    with served.client() as http:
        assert http.get("/v1/chats").status_code == 200
        assert http.get("/v1/chats", headers={"Host": "chat.example.org"}).status_code == 401


def test_another_sites_pages_may_ask_where_they_are_allowed(serving: Serving) -> None:
    site = "https://client.example.org"
    served = serving(policy=AccessPolicy(allow_origins=[site, "app://desktop"]))
    asked = {
        "Origin": site,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
    }
    with served.client() as http:
        preflight = http.options("/v1/responses", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == site
        assert "POST" in preflight.headers["access-control-allow-methods"]
        allowed = preflight.headers["access-control-allow-headers"]
        assert allowed == asked["Access-Control-Request-Headers"]
        assert "Origin" in preflight.headers["vary"]
        body = {"model": "ann", "input": "hello", "max_output_tokens": 3}
        answer = http.post("/v1/responses", json=body, headers={"Origin": site})
        assert answer.headers["access-control-allow-origin"] == site
        wrong = http.post("/v1/responses", json={}, headers={"Origin": site})
        assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (400, site)
        desktop = http.get("/v1/models", headers={"Origin": "app://desktop"})
        assert desktop.headers["access-control-allow-origin"] == "app://desktop"
        for other in ("https://evil.example", "https://client.example.org.evil.example", "null"):
            refused = http.options("/v1/responses", headers=asked | {"Origin": other})
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (AccessPolicy(require_key=True), "--require-key"),
        (AccessPolicy("0.0.0.0"), "--host 0.0.0.0"),
        (AccessPolicy(allow_hosts=["chat.example.org"]), "--allow-host chat.example.org"),
        (AccessPolicy("0.0.0.0", require_key=False), "--no-key"),
        (AccessPolicy(allow_origins=["*"]), "--allow-origin"),
    ],
)
def test_what_would_let_strangers_in_is_not_served(
    serving: Serving, policy: AccessPolicy, word: str
) -> None:
    with pytest.raises(ElmanError, match=word.replace(".", r"\.")):
        check_policy(policy, serving().service.keys)


ODD_NAMES = [
    AccessPolicy(allow_hosts=[name], require_key=True)
    for name in ("", "a b", "http://chat.example.org", "chat.example.org:80", "chat.example.org/")
]
ODD_ORIGINS = [
    AccessPolicy(allow_origins=[origin])
    for origin in (
        "", "client.example.org", "https://client.example.org/", "https://client.example.org/page",
        "https://Client.example.org", "https://", "https://a b",
    )
]  # fmt: skip


@pytest.mark.parametrize("policy", [*ODD_NAMES, *ODD_ORIGINS])
def test_a_name_that_nothing_could_equal_is_refused(serving: Serving, policy: AccessPolicy) -> None:
    served = serving()
    served.key("phone")
    with pytest.raises(ElmanError, match="expected"):
        check_policy(policy, served.service.keys)


def test_names_that_are_allowed_as_they_are_sent(serving: Serving) -> None:
    served = serving()
    served.key("phone")
    names = ["chat.example.org", "Chat", "192.0.2.7", "[2001:db8::7]", "*"]
    origins = ["https://client.example.org", "http://localhost:3000", "app://desktop", "null"]
    check_policy(AccessPolicy(allow_hosts=names, allow_origins=origins), served.service.keys)


def test_a_unix_socket_is_its_owners(bot: Any, tmp_path: Path) -> None:
    path = tmp_path / "elman.sock"
    with listen_unix(path) as killed:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ElmanError, match="another server listens"):
            listen_unix(path)
        del killed
    from elman.chat import MemoryStore

    # What a server left that was killed is replaced; another file is not.
    with MemoryStore(tmp_path / "memory.db") as store, listen_unix(path) as listening:
        policy = AccessPolicy("localhost")
        server = make_server(Service({"ann": bot}, store), policy)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, base_url="http://localhost") as http:
                assert http.get("/v1/models").status_code == 200
                Keys(store).add("phone")
                assert http.get("/v1/models").status_code == 401
        finally:
            server.should_exit = True
            thread.join()
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(ElmanError, match="--uds"):
        listen_unix(other)
    assert other.read_text() == "mine"
