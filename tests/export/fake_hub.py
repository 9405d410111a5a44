"""As much of the Hugging Face Hub as a bot's way there and back needs, on this machine."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_the_test"


@dataclass
class Repository:
    """One of the fake's repositories: its files in its only commit."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class FakeHub:
    """The fake: `asked` lists what was asked of it, `METHOD path`."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def blob_id(content: bytes) -> str:
    """Name a file as git does."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Run the fake as long as the block lasts."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, code: int, content: bytes | Any, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def repository(self, name: str) -> Repository | None:
            """Find one; a private one only for whoever has the token."""
            found = hub.repositories.get(name)
            if found is not None and found.private:
                return found if self.headers["Authorization"] == f"Bearer {TOKEN}" else None
            return found

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            parts = path.removeprefix("/api/models").strip("/").split("/")
            name, rest = "/".join(parts[:2]), parts[2:]
            found = self.repository(name)
            if found is None:
                self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            elif rest[:1] == ["tree"]:
                listed = [
                    {"type": "file", "path": path, "size": len(each), "oid": blob_id(each)}
                    for path, each in found.files.items()
                ]
                self.answer(200, listed, Content_Type="application/json")
            elif rest[:1] == ["resolve"]:
                content = found.files["/".join(rest[2:])]
                self.answer(200, content, ETag=f'"{blob_id(content)}"', X_Repo_Commit=SHA)
            else:
                siblings = [{"rfilename": path} for path in found.files]
                told = {"id": name, "sha": SHA, "private": found.private, "siblings": siblings}
                self.answer(200, told | {"tags": []}, Content_Type="application/json")

        def do_POST(self) -> None:
            hub.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid credentials"})
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                is_new = name not in hub.repositories
                made = hub.repositories.setdefault(
                    name, Repository(asked["visibility"] == "private")
                )
                told = {"url": f"{hub.url}/{name}", "name": name, "private": made.private}
                self.answer(200 if is_new else 409, told)
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = [
                    {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for each in json.loads(body)["files"]
                ]
                self.answer(200, {"files": files})
            elif "/commit/" in self.path:
                name = "/".join(self.path.split("/")[3:5])
                self.commit(hub.repositories[name], body)
                told = {"commitUrl": f"{hub.url}/{name}/commit/{SHA}", "commitOid": SHA}
                self.answer(200, told)
            else:
                self.answer(404, {"error": self.path})

        @staticmethod
        def commit(into: Repository, body: bytes) -> None:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    into.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    into.files.pop(value["path"], None)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
