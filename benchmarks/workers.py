"""Many workers, and states that travel: kills under load, forged states, times to first tokens.

    pip install 'elman[serve,postgres]'
    python benchmarks/workers.py                  # about 15 minutes; needs Debian's postgresql
    python benchmarks/workers.py kills --times 10

`kills` kills one of two workers of `elman serve base` again and again while clients talk, and looks
for every turn that was acknowledged. `forged` brings changed states. `first` times the first token
of a chat whose state is carried beside that of one that is stored, in turn, at one server; the same
with the kept states of the server forgotten, and the edit of message 3 of a long chat.
"""

import argparse
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any

from machine import describe
from postgres_server import running_postgres

from elman.runtime.choose import load_bot
from elman.serve.carried import CarriedState, SaidMessage, read_carried, write_carried
from elman.serve.http.errors import ApiError
from elman.serve.store.state_keys import StateKeys

TEXT = "I would like a cup of tea, please. What kinds do you have?"


class Server:
    """`elman serve base`, in processes of its own."""

    def __init__(self, database: str, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "elman", "serve", "--samples", "1", "--port"]
        self.process = subprocess.Popen(
            [*command, str(self.port), "--db", database, *options], stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        if b"Elman serves" not in self.process.stderr.readline():
            raise SystemExit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def post(self, **body: Any) -> dict[str, Any]:
        """Ask for a response."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            content = json.dumps({"model": "base", "input": TEXT, "max_output_tokens": 12} | body)
            head = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/responses", content, head)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise HTTPException(text.decode())
            found: dict[str, Any] = json.loads(text)
            return found
        finally:
            connection.close()

    def first_token(self, **body: Any) -> tuple[float, dict[str, Any]]:
        """Return the seconds to the first text of a stream, and the response of its end."""
        content = json.dumps(
            {"model": "base", "input": TEXT, "stream": True, "max_output_tokens": 12} | body
        )
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            begun, first = time.perf_counter(), 0.0
            head = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/responses", content, head)
            answer = connection.getresponse()
            for line in answer:
                if not first and line.startswith(b"event: response.output_text.delta"):
                    first = time.perf_counter() - begun
                if line.startswith(b"data: "):
                    last = line
            return first, json.loads(last[6:])["response"]
        finally:
            connection.close()

    @property
    def workers(self) -> list[int]:
        """The processes of the workers."""
        pid, found = self.process.pid, []
        for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
            if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes():
                found.append(int(each))
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def serving(database: str, *options: str) -> Iterator[Server]:
    server = Server(database, *options)
    try:
        yield server
    finally:
        server.stop()


def kills(database: str, times: int, clients: int, seconds: float) -> dict[str, Any]:
    """Kill one of two workers again and again; count the turns that were acknowledged and lost."""
    acknowledged: dict[str, str] = {}
    broken = 0
    ending = threading.Event()
    draw = random.Random(0)

    def talk(server: Server, number: int) -> None:
        nonlocal broken
        before: str | None = None
        while not ending.is_set():
            try:
                found = server.post(input=f"{number}: a tea, please", previous_response_id=before)
            except (OSError, HTTPException, ValueError):
                broken += 1
                continue
            before = found["id"]
            acknowledged[before] = found["output"][0]["content"][0]["text"]

    with serving(database, "--workers", "2") as server:
        threads = [threading.Thread(target=talk, args=(server, n)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for _ in range(times):
            # Under load: every client has had an answer since the last kill, on average.
            enough = len(acknowledged) + clients
            while len(acknowledged) < enough or len(server.workers) < 2:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, seconds))
            os.kill(draw.choice(server.workers), signal.SIGKILL)
        ending.set()
        for thread in threads:
            thread.join()
        lost = 0
        for id_, text in acknowledged.items():
            connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
            connection.request("GET", f"/v1/responses/{id_}")
            answer = connection.getresponse()
            found = json.loads(answer.read())
            connection.close()
            lost += answer.status != 200 or found["output"][0]["content"][0]["text"] != text
    print(
        f"killed one of two workers {times} times: {len(acknowledged):,} turns acknowledged, "
        f"{lost} lost; {broken} requests broke off",
        flush=True,
    )
    return {"kills": times, "acknowledged": len(acknowledged), "lost": lost, "broken": broken}


def forged(count: int) -> dict[str, Any]:
    """Bring so many changed, cut, joined and foreign states of base's; count those accepted."""
    bot = load_bot("base")
    spec, keys, draw = bot.decoder.state_spec, StateKeys(), random.Random(0)
    state = bot.decoder.read([[bot_message(bot)]], bot.decoder.initial_state(1))
    whole = CarriedState(bot.decoder.to_arrays(state), 1, 9, [SaidMessage("user", TEXT, None)])
    text = write_carried(whole, keys, "ann", bot.state_digest)
    other = write_carried(whole._replace(messages=2), keys, "ann", bot.state_digest)
    signed = base64.urlsafe_b64decode(text)
    read_carried(text, keys, "ann", bot.state_digest, spec)

    def changed() -> str:
        raw = bytearray(signed)
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        return base64.urlsafe_b64encode(raw).decode()

    def spelled() -> str:
        at = draw.randrange(len(text))
        return text[:at] + draw.choice("ABCDEFabcdef0123456789-_=+/") + text[at + 1 :]

    def joined() -> str:
        at = draw.randrange(len(text))
        return text[:at] + other[at:]

    ways: list[Callable[[], str]] = [
        changed, spelled, joined,
        lambda: text[: draw.randrange(len(text))],
        lambda: write_carried(whole, StateKeys(), "ann", bot.state_digest),
    ]  # fmt: skip
    accepted = tried = 0
    while tried < count:
        foreign = tried % 6 == 5
        brought = text if foreign else ways[tried % 6]()
        if brought in (text, other) and not foreign:
            continue
        tried += 1
        try:
            owner = "bob" if foreign else "ann"
            read_carried(brought, keys, owner, bot.state_digest, spec)
            accepted += 1
        except ApiError as error:
            if error.status != 400:
                raise
    print(f"{tried:,} forged and foreign states: {accepted} accepted", flush=True)
    return {"forged": tried, "accepted": accepted}


def bot_message(bot: Any) -> Any:
    from elman.chat import MemoryStore, Recall

    with MemoryStore() as store:
        recall = Recall(store, bot)
        return recall.ids(recall.after(None, "user", TEXT))


def first(database: str, folder: Path, messages: int, repeats: int) -> dict[str, Any]:
    """Time first tokens: carried beside stored, and an edit near the beginning of a long chat."""
    keys = ("--state-keys", str(folder / "state-keys.json"))
    with serving(database, *keys) as server:
        ids: list[str] = []
        while 2 * len(ids) < messages:
            before = {"previous_response_id": ids[-1]} if ids else {}
            ids.append(server.post(input=f"{len(ids)}: {TEXT}", **before)["id"])
        carried = server.post(previous_response_id=ids[-1], state="carry")["state"]
        stored = server.post(previous_response_id=ids[-1])["id"]
        times: dict[str, list[float]] = {"stored": [], "carried": [], "edit": []}
        for _ in range(repeats):
            seconds, found = server.first_token(previous_response_id=stored)
            times["stored"].append(seconds)
            stored = found["id"]
            seconds, found = server.first_token(state=carried)
            times["carried"].append(seconds)
            carried = found["state"]
            seconds, _ = server.first_token(previous_response_id=ids[0], input="A coffee, please.")
            times["edit"].append(seconds)
    with serving(database, *keys) as server:  # which has no state at hand
        server.post()
        times["edit, states forgotten"] = [
            server.first_token(previous_response_id=ids[0], input="Tea?")[0]
        ]
    found = {name: median(each) for name, each in times.items()}
    ratio = median(c / s for c, s in zip(times["carried"], times["stored"], strict=True))
    print("time to first token, ms (medians):")
    for name, seconds in found.items():
        print(f"  {name}: {1000 * seconds:.1f}")
    print(
        f"carried / stored: {ratio:.2f}; a state has {len(carried):,} characters; edited was "
        f"message 3 of {2 * len(ids):,}",
        flush=True,
    )
    return {"first": found, "ratio": ratio, "characters": len(carried), "messages": 2 * len(ids)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help="kills, forged, first (all)")
    parser.add_argument("--times", type=int, default=100, help="kills")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of waiting before a kill, at most"
    )
    parser.add_argument("--forgeries", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    parts = arguments.parts or ["kills", "forged", "first"]
    print(describe(), "\n", flush=True)
    found: dict[str, Any] = {"machine": describe()}
    with tempfile.TemporaryDirectory() as folder, running_postgres() as postgres:
        if "forged" in parts:
            found |= forged(arguments.forgeries)
        if "first" in parts:
            found |= first(postgres.database(), Path(folder), arguments.messages, arguments.repeats)
        if "kills" in parts:
            found |= kills(
                postgres.database(), arguments.times, arguments.clients, arguments.seconds
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    sys.exit(bool(found.get("lost") or found.get("accepted")))


if __name__ == "__main__":
    main()
