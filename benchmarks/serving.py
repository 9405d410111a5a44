"""The server's figures: the first token, replies side by side, idle chats. One computer for all.

    pip install 'elman[serve]' x-transformers
    python benchmarks/serving.py --json out.json        # about ten minutes
    python benchmarks/serving.py --messages 100 --chats 200 --seconds 3      # a look

The server is `elman serve base` in a process of its own; the load comes from this one, over plain
sockets. Beside it, in turn, is the same server with the decoder of torch. The Transformer beside it
has as many weights, and reads the whole history for each reply, as a server without a kept cache
does; only its reading is timed.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, get_args

import numpy as np
import torch
from machine import describe

from elman.chat import LOCAL, MemoryStore, Node, Recall
from elman.data.tokenizer import END
from elman.generate.bot import Bot
from elman.generate.network import load_network_bot
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot
from elman.runtime.compiled import WeightPrecision
from elman.serve.batching import Batcher
from elman.serve.jobs import Ended, Event, Failed, Job
from elman.serve.store.responses import ResponseStore, StoredResponse

ROUNDS = 3
"""In which the server and the same with torch have their turns; the median counts."""

WITH_TORCH = """
import runpy
from elman.generate.network import load_network_bot
from elman.serve import run
run.load_bot = lambda folder, precision, trust: load_network_bot(folder)
runpy.run_module("elman", run_name="__main__")
"""

TEXT = "I would like a cup of tea, please. What kinds do you have?"
REPLY = 24


class Client:
    """One connection to the server, by plain sockets, so that the load costs little itself."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def post(self, path: str, body: dict[str, Any]) -> tuple[float, float, str]:
        """Seconds to the first text, seconds in all, and the body; of a stream."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        )
        started = time.perf_counter()
        writer.write(head.encode() + content)
        first, parts = 0.0, []
        while part := await reader.read(1 << 16):
            parts.append(part)
            if not first and (b".delta" in part or b'"content": "' in part.replace(b'""', b"")):
                first = time.perf_counter() - started
        writer.close()
        text = b"".join(parts).decode()
        if not text.startswith("HTTP/1.1 200"):
            raise RuntimeError(text)
        return first, time.perf_counter() - started, text


def completed(text: str) -> dict[str, Any]:
    """The response of a stream's last event."""
    line = [line for line in text.splitlines() if line.startswith("data: ")][-1]
    found: dict[str, Any] = json.loads(line[6:])["response"]
    return found


class Server:
    """`elman serve base`, in a process of its own."""

    def __init__(self, place: Path, threads: int, program: Sequence[str] = ("-m", "elman")) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, *program, "serve", "--port", str(self.port), "--db"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [*command, str(place)], env=environment, stderr=subprocess.DEVNULL
        )
        self.client = Client(self.port)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.1)

    @property
    def memory(self) -> float:
        """Of its own, in MB: without the pages of libraries, which their files back."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        [line] = [line for line in status.splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def body(**more: Any) -> dict[str, Any]:
    return {"model": "base", "input": TEXT, "stream": True, "max_output_tokens": REPLY} | more


async def first_tokens(server: Server, messages: int, repeats: int) -> dict[str, Any]:
    """Time to the first token at message 5 and at the last, resumed and resent."""
    post = server.client.post
    history: list[dict[str, str]] = []
    before: str | None = None
    found: dict[str, Any] = {}
    await post("/v1/responses", body(store=False))
    while len(history) < messages:
        _, _, text = await post("/v1/responses", body(previous_response_id=before))
        response = completed(text)
        before = response["id"]
        history.append({"role": "user", "content": TEXT})
        history.append(
            {"role": "assistant", "content": response["output"][0]["content"][0]["text"]}
        )
        if len(history) not in (4, messages):
            continue
        at = "message 5" if len(history) == 4 else f"message {messages + 1:,}"
        resumed, resent = [], []
        for number in range(repeats):
            # Another question each time, so that nothing of it is known already.
            ask = f"{TEXT} {number}"
            again = body(previous_response_id=before, input=ask, store=False)
            resumed.append((await post("/v1/responses", again))[0])
            ask += " Or coffee?"
            whole = {
                "model": "base", "stream": True, "max_tokens": REPLY,
                "messages": [*history, {"role": "user", "content": ask}],
            }  # fmt: skip
            resent.append((await post("/v1/chat/completions", whole))[0])
        tokens = response["usage"]["total_tokens"]
        found[at] = {
            "resumed": median(resumed), "resent": median(resent), "tokens": tokens,
            "transformer": transformer(tokens),
        }  # fmt: skip
    return found


def transformer(tokens: int) -> float | None:
    """Seconds that a Transformer of as many weights reads so many tokens in; None: not there."""
    try:
        from x_transformers import Decoder, TransformerWrapper
    except ImportError:
        return None
    torch.manual_seed(0)
    model = TransformerWrapper(
        num_tokens=4096, max_seq_len=0, use_abs_pos_emb=False, tie_embedding=True,
        attn_layers=Decoder(dim=384, depth=4, heads=6, rotary_pos_emb=True, attn_flash=True),
    ).eval()  # fmt: skip
    ids = torch.randint(4096, (1, tokens))
    times = []
    with torch.no_grad():
        for _ in range(3):
            started = time.perf_counter()
            model(ids)
            times.append(time.perf_counter() - started)
    return min(times)


def engine(bot: Bot, batch_size: int, seconds: float) -> float:
    """Tokens per second of replies that never end, so many at once."""
    batcher = Batcher(bot, batch_size=batch_size)
    # END is never said, so that every row is busy all the time.
    wishes = SamplingParams(max_tokens=1 << 30, logit_bias={END: -1e9})
    done = threading.Semaphore(0)

    def deliver(event: Event) -> None:
        if isinstance(event, Ended | Failed):
            done.release()

    jobs = [Job(bot.decoder.initial_state(1), [], wishes, deliver) for _ in range(batch_size)]
    for job in jobs:
        batcher.submit(job)
    time.sleep(0.5)
    began, count = time.perf_counter(), batcher.tokens
    time.sleep(seconds)
    speed = (batcher.tokens - count) / (time.perf_counter() - began)
    for job in jobs:
        job.cancelled = True
    for _ in jobs:
        done.acquire()
    batcher.close()
    return speed


async def over_http(server: Server, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Tokens per second of so many clients that talk all the time, and times to first tokens."""
    until = time.perf_counter() + seconds
    tokens, firsts = 0, []

    async def talk(number: int) -> None:
        nonlocal tokens
        before, turn = None, 0
        while time.perf_counter() < until:
            turn += 1
            ask = body(input=f"{number} {turn}: {TEXT}", previous_response_id=before)
            first, _, text = await server.client.post("/v1/responses", ask)
            response = completed(text)
            before = response["id"]
            tokens += response["usage"]["output_tokens"]
            firsts.append(first)

    began = time.perf_counter()
    await asyncio.gather(*(talk(number) for number in range(clients)))
    return tokens / (time.perf_counter() - began), firsts


def compare_over_http(servers: Mapping[str, Server], seconds: float) -> dict[int, Any]:
    """Print and return what clients of some servers get, for some numbers of clients."""
    found: dict[int, Any] = {}
    heads = [f"{name}, tokens per second | p95 to first token, ms" for name in servers]
    print(f"\n| clients | {' | '.join(heads)} |")
    print("|---" * (1 + 2 * len(servers)) + "|")
    for clients in (1, 16, 32):
        speeds: dict[str, list[float]] = {name: [] for name in servers}
        firsts: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, server in servers.items():
                speed, times = asyncio.run(over_http(server, clients, seconds))
                speeds[name].append(speed)
                firsts[name].append(p95(times))
        found[clients] = {
            name: {"speed": median(speeds[name]), "p95": median(firsts[name])} for name in servers
        }
        cells = [
            f"{each['speed']:,.0f} | {1000 * each['p95']:.0f}" for each in found[clients].values()
        ]
        print(f"| {clients} | {' | '.join(cells)} |", flush=True)
    return found


def fill(bot: Bot, place: Path, chats: int, messages: int) -> list[str]:
    """Write so many chats as the server would have, with every state that it would keep."""
    draw = np.random.default_rng(0)
    arrays = [
        draw.standard_normal((1, part.size)).astype(part.dtype) for part in bot.decoder.state_spec
    ]
    state = bot.decoder.from_arrays(arrays)
    ids = []
    with MemoryStore(place) as store:
        recall, responses = Recall(store, bot), ResponseStore(store)
        for begin in range(0, chats, 100):
            with store.writing() as connection:
                for number in range(begin, min(begin + 100, chats)):
                    node: Node | None = None
                    for turn in range(messages):
                        role = "user" if turn % 2 == 0 else "bot"
                        node = recall.after(node, role, f"{number} {turn}: {TEXT}")
                        recall.put(connection, node, state)
                    assert node is not None
                    ids.append(f"resp_{number:032x}")
                    record = StoredResponse(
                        ids[-1], ids[-1], None, "base", recall.fingerprint, node.key, messages,
                        sum(array.nbytes for array in arrays), TEXT, TEXT, "completed", 0, 0,
                        {
                            "instructions": None, "max_output_tokens": None, "temperature": 1.0,
                            "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
                            "top_logprobs": 0, "store": True, "user": None, "metadata": {},
                        },
                        time.time(), time.time(),
                    )  # fmt: skip
                    responses.add(connection, LOCAL, record)
    return ids


def resume(bot: Bot, place: Path, ids: list[str], count: int) -> list[float]:
    """Seconds in which chats are found again, in a process that has not seen them."""
    draw = np.random.default_rng(0)
    times = []
    with MemoryStore(place) as store:
        recall, responses = Recall(store, bot), ResponseStore(store)
        for id_ in draw.choice(ids, min(count, len(ids)), replace=False):
            started = time.perf_counter()
            with store.reading() as connection:
                record = responses.get(connection, LOCAL, str(id_))
                _, unread = recall.find(connection, record.key)
            times.append(time.perf_counter() - started)
            assert not unread
    return times


async def idle(server: Server, ids: list[str], count: int) -> list[float]:
    """Times to the first token of chats that were idle."""
    draw = np.random.default_rng(1)
    return [
        (await server.client.post("/v1/responses", body(previous_response_id=str(id_))))[0]
        for id_ in draw.choice(ids, min(count, len(ids)), replace=False)
    ]


def p95(times: list[float]) -> float:
    return quantiles(times, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--chats", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    bot = load_bot("base")
    found: dict[str, Any] = {"machine": describe()}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "talk.db", arguments.threads)
        other = Server(Path(folder) / "torch.db", arguments.threads, ("-c", WITH_TORCH))
        try:
            firsts = asyncio.run(first_tokens(server, arguments.messages, arguments.repeats))
            found["first_token"] = firsts
            print("| time to first token, ms | tokens so far | resumed | resent | Transformer |")
            print("|---|---|---|---|---|")
            for at, row in firsts.items():
                seconds = row["transformer"]
                beside = "not installed" if seconds is None else f"{1000 * seconds:.0f}"
                print(
                    f"| {at} | {row['tokens']:,} | {1000 * row['resumed']:.1f} | "
                    f"{1000 * row['resent']:.1f} | {beside} |"
                )
            early, late = firsts.values()
            for way in ("resumed", "resent", "transformer"):
                if early[way]:
                    print(f"{way}: {late[way] / early[way]:.2f} times", flush=True)
            found["http"] = compare_over_http(
                {"torch": other, "now": server}, arguments.seconds / ROUNDS
            )
        finally:
            server.stop()
            other.stop()
        engines: dict[str, Bot] = {
            "torch": load_network_bot("base"),
            **{precision: load_bot("base", precision) for precision in get_args(WeightPrecision)},
        }
        found["engine"] = {}
        print(f"\n| replies at once, tokens per second | {' | '.join(engines)} |")
        print("|---" * (1 + len(engines)) + "|")
        for size in (1, 8, 32):
            speeds = {name: engine(of, size, arguments.seconds / 4) for name, of in engines.items()}
            found["engine"][size] = speeds
            print(f"| {size} | {' | '.join(f'{n:,.0f}' for n in speeds.values())} |", flush=True)
        server = Server(Path(folder) / "empty.db", arguments.threads)
        asyncio.run(server.client.post("/v1/responses", body()))
        empty = server.memory
        server.stop()
        place = Path(folder) / "idle.db"
        ids = fill(bot, place, arguments.chats, 20)
        server = Server(place, arguments.threads)
        try:
            times = asyncio.run(idle(server, ids, 200))
            looked_up = resume(bot, place, ids, 500)
            found["idle"] = {
                "chats": len(ids),
                "empty_mb": empty,
                "memory_mb": server.memory,
                "disk_mb": place.stat().st_size / 1e6,
                "first_token": median(times),
                "resume": median(looked_up),
            }
            print(
                f"\n{len(ids):,} idle chats of 20 messages, of which 200 were resumed: "
                f"{server.memory:.0f} MB of server memory, {server.memory - empty:+.0f} MB beside "
                f"a server without any; {place.stat().st_size / 1e6:.0f} MB on disk; one is found "
                f"in {1000 * median(looked_up):.2f} ms, its first token comes in "
                f"{1000 * median(times):.1f} ms (medians)"
            )
        finally:
            server.stop()
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
