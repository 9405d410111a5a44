"""Logs of runs, as training writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRun = Callable[..., Path]


def step(number: int) -> dict[str, Any]:
    return {
        "kind": "step",
        "step": number,
        "spent": number / 200,
        "loss": 5.0 / number,
        "bits_per_byte": 2 + 3 / number,
        "grad_norm": 2.0 if number % 2 else 0.5,
        "lr": 0.001,
        "tokens_per_second": 9000 + number,
        "seconds": number / 10,
        "left": round((200 - number) / 10),
        "epochs": number / 100,
    }


def events(steps: int = 120) -> list[dict[str, Any]]:
    """A run with one of everything; its texts try to be more than text."""
    found: list[dict[str, Any]] = []
    for number in range(1, steps + 1):
        if number % 30 == 0:
            layers = [[1.0, 0.1, 0.01, 0.0], [0.5, 0.2, 0.02, None]]
            words = {"text": "it learns from about 2 messages; you unfold about 3"}
            lag = {"layers": layers, "reach": 2, "more": False, "unfold": 3.0, **words}
            found.append({"kind": "lag", "step": number, **lag})
        found.append(step(number))
        if number % 40 == 0:
            held = {"bits_per_byte": 3 - number / 100, "best": True, "seconds": 1.0}
            found.append({"kind": "validation", "step": number, **held})
            sample = {
                "heard": ["hi <b>there</b>", "\x1b[31mred"],
                "person": "<script>window.hacked = 1</script>",
                "bot": f"reply {number} <img src=x onerror='window.hacked = 1'>",
            }
            found.append({"kind": "samples", "step": number, "samples": [sample]})
    spike = {"grad_norm": 50.0, "usual": 1.0, "text": "most of it comes from “<i>haha</i>”"}
    found.append({"kind": "spike", "step": steps, **spike})
    found.append({"kind": "warning", "step": steps, "text": "nothing reaches back \x1b[2J"})
    return found


END = {
    "kind": "end",
    "step": 120,
    "reason": "finished",
    "steps": 120,
    "seconds": 12.0,
    "bits_per_byte": 1.8,
}

CONFIG = {
    "data": {"bot": "Ann"},
    "model": {"memory": "tokens", "layers": 2, "cell": "lstm", "hidden_size": 16},
    "train": {
        "clip": 1.0, "unfold": 16, "unit": "steps", "batch_size": 4, "optimizer": "adamw",
        "minutes": None, "epochs": None, "steps": 120,
    },
}  # fmt: skip


def lines(*some: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in some)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Makes a run's folder with a log; of a run that has ended, unless told otherwise."""

    def make(*, ended: bool = True, name: str = "ann") -> Path:
        run = tmp_path / name
        run.mkdir()
        (run / "config.json").write_text(json.dumps(CONFIG))
        (run / "log.jsonl").write_text(lines(*events(), *([END] if ended else [])))
        return run

    return make
