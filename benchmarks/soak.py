"""A load for locust: people who talk, go back, fork, resend and leave.

    pip install locust
    elman serve --port 8000 --db soak.db &
    locust -f benchmarks/soak.py --headless -u 32 -r 8 -t 10m --host http://127.0.0.1:8000 \
        --pid $! --only-summary

Fails (exit code 1) on any answer that is neither 200 nor 429, and where the server's memory grew by
2 % or more from the end of the second minute on (Linux; `--pid` says which process it is).
"""

import json
import random
import time
from pathlib import Path
from typing import Any

from locust import HttpUser, between, events, task

WARM = 120
"""Seconds until the caches are full and memory is measured first."""

LINES = (
    "Hello there!",
    "I would like a cup of tea, please.",
    "What kinds do you have?",
    "And how much is that?",
    "What did I ask for first?",
)

growth: dict[str, float] = {}


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--pid", type=int, default=0, help="of the server")


def memory(pid: int) -> float:
    """Of its own, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


class Person(HttpUser):
    """Talks in one conversation for a while, and then begins another."""

    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        self.ids: list[str] = []

    def ask(self, path: str, body: dict[str, Any], name: str) -> dict[str, Any] | None:
        with self.client.post(path, json=body, name=name, catch_response=True) as answer:
            if answer.status_code == 429:
                answer.success()  # which is how overload is to be answered
                time.sleep(float(answer.headers["Retry-After"]))
                return None
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
                return None
            if body.get("stream"):
                if not answer.text.rstrip().endswith("[DONE]"):
                    answer.failure("the stream did not end")
                return None
            found: dict[str, Any] = answer.json()
            return found

    @task(8)
    def talk(self) -> None:
        before = self.ids[-1] if self.ids else None
        body = {"model": "base", "input": random.choice(LINES), "previous_response_id": before}
        found = self.ask("/v1/responses", body, "talk")
        if found is not None:
            self.ids.append(found["id"])

    @task(2)
    def fork(self) -> None:
        if self.ids:
            before = random.choice(self.ids)
            body = {"model": "base", "input": "Or else?", "previous_response_id": before}
            self.ask("/v1/responses", body, "fork")

    @task(3)
    def resend(self) -> None:
        messages = [{"role": "user", "content": line} for line in random.sample(LINES, 3)]
        for number in range(len(messages) - 1):
            messages.insert(2 * number + 1, {"role": "assistant", "content": "I see."})
        body = {"model": "base", "messages": messages, "stream": True}
        self.ask("/v1/chat/completions", body, "resend")

    @task(1)
    def leave(self) -> None:
        if len(self.ids) > 20:
            self.client.get(f"/v1/responses/{self.ids[0]}", name="look")
            self.client.delete(f"/v1/chats/{self.ids[0]}", name="delete")
            self.ids = []


@events.test_start.add_listener
def _begin(environment: Any, **_: Any) -> None:
    growth["begun"] = time.monotonic()


@events.request.add_listener
def _measure(**_: Any) -> None:
    late = time.monotonic() - growth.get("begun", time.monotonic()) > WARM
    if late and "first" not in growth and growth["pid"]:
        growth["first"] = memory(int(growth["pid"]))


@events.init.add_listener
def _known(environment: Any, **_: Any) -> None:
    growth["pid"] = environment.parsed_options.pid


@events.quitting.add_listener
def _judge(environment: Any, **_: Any) -> None:
    failures = environment.stats.total.num_failures
    grown = 0.0
    if "first" in growth:
        last = memory(int(growth["pid"]))
        grown = last / growth["first"] - 1
    facts = {
        "requests": environment.stats.total.num_requests,
        "failures": failures,
        "memory_growth": round(grown, 4),
    }
    print(json.dumps(facts))
    environment.process_exit_code = int(bool(failures) or grown >= 0.02)
