"""kill -9 under load, again and again: no acknowledged turn is lost, and no state is torn.

python benchmarks/kill.py --times 100
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from elman.chat import LOCAL, MemoryStore, Recall
from elman.chat.recall import state_from_bytes
from elman.errors import ElmanError
from elman.runtime.choose import load_bot
from elman.serve.store.responses import ResponseStore


def post(port: int, body: dict[str, Any]) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        content = json.dumps(body)
        connection.request("POST", "/v1/responses", content, {"Content-Type": "application/json"})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def start(place: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "elman", "serve", "--port", str(port), "--db", str(place)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process
        except OSError:
            if process.poll() is not None:
                raise SystemExit("the server did not start") from None
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load before a kill, at most")
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    acknowledged: dict[str, str] = {}

    def talk(number: int) -> None:
        before, turn = None, 0
        while True:
            turn += 1
            ask = {
                "model": "base", "input": f"{number} {turn}: a tea, please",
                "previous_response_id": before, "max_output_tokens": 12,
            }  # fmt: skip
            try:
                found = post(port, ask)
                before = found["id"]
            except (OSError, HTTPException, ValueError):
                return
            acknowledged[before] = found["output"][0]["content"][0]["text"]

    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "memory.db"
        for _ in range(arguments.times):
            process = start(place, port)
            threads = [threading.Thread(target=talk, args=(n,)) for n in range(arguments.clients)]
            for thread in threads:
                thread.start()
            time.sleep(draw.uniform(0.1, arguments.seconds))
            process.kill()
            process.wait()
            for thread in threads:
                thread.join()
        bot = load_bot("base")
        lost, torn, states = 0, 0, 0
        with MemoryStore(place) as store, store.reading() as connection:
            [check] = connection.execute("PRAGMA integrity_check").fetchone()
            recall, responses = Recall(store, bot), ResponseStore(store)
            for id_, text in acknowledged.items():
                try:
                    record = responses.get(connection, LOCAL, id_)
                except ElmanError:
                    lost += 1
                    continue
                lost += record.output != text
                for node, kept in store.to_a_state(connection, LOCAL, record.key):
                    if kept is not None:
                        states += 1
                        spec = bot.decoder.state_spec
                        torn += state_from_bytes(kept, spec, recall.fingerprint, node.key) is None
    print(
        f"killed {arguments.times} times; {len(acknowledged):,} turns acknowledged, {lost} lost; "
        f"{states:,} states looked at, {torn} torn; the database is {check}"
    )
    sys.exit(bool(lost or torn or check != "ok"))


if __name__ == "__main__":
    main()
