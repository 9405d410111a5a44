"""Two processes of one thread against one process of two: tokens a second, and the same losses.

    python benchmarks/distributed.py                    # about 5 minutes, on a quiet machine
    python benchmarks/distributed.py --hidden-size 64 --steps 97 --losses FILE

Each makes the same steps of Elman's default network on the built-in conversations, with the same
total batch; they take turns, round after round, and the median over rounds counts. What one
all-reduce sends is the gradient: 4 bytes for each parameter, whatever the batch. With --losses both
learn the same 15 rows of the batch (7 and 8 in two processes) in float32, and the file has every
loss. They are equal but for rounding: two processes add up the same numbers in another order, each
sum differs by some units of 6e-8 of its size, and steps carry differences on.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from machine import describe

from elman.data.corpus import scored
from elman.model.embeddings import begin_with
from elman.train import Config
from elman.train.joining import joined
from elman.train.prepare import prepare
from elman.train.runlog import Tell
from elman.train.trainer import Trainer

KINDS = {
    "1 process, 1 thread": (1, 1),
    "1 process, 2 threads": (1, 2),
    "2 processes, 1 thread each": (2, 1),
}
WARM_UP_STEPS = 3
TEXT_BYTES = 1_000_000
PORT = 29_517
LOSS_TOLERANCE = 1e-4
"""Nats by which a loss in float32 may differ after 100 steps."""


def steps(batch_size: int, hidden_size: int, count: int) -> None:
    """Make steps in this process, and print what it took where this process leads."""
    config = Config.make(
        {
            "data": {"path": "chitchat", "max_text_bytes": TEXT_BYTES},
            "model": {"hidden_size": hidden_size, "dropout": 0},
            "train": {
                "base": None,
                "steps": WARM_UP_STEPS + count,
                "batch_size": batch_size,
                "precision": "float32",
            },
        }
    )
    reduced: list[float] = []
    all_reduce = dist.all_reduce

    def timed(*given: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        done = all_reduce(*given, **named)
        reduced.append(time.perf_counter() - begin)
        return done

    dist.all_reduce = timed
    with joined() as world:
        data = prepare(config, Tell(()))
        trainer = Trainer.of(data.config, data, world)
        ids = data.learned.ids
        begin_with(trainer.chatbot, ids, config.train.seed)
        trainer.chatbot.count(ids, scored(ids, data.config.data.learn_from))
        if not world.leads:
            trainer.follow()
            return
        seconds, tokens, losses = [], 0, []
        for _ in range(WARM_UP_STEPS + count):
            begin = time.perf_counter()
            metrics = trainer.step()
            seconds.append(time.perf_counter() - begin)
            tokens = metrics.steps
            losses.append(metrics.loss)
        trainer.dismiss()
    size = sum(each.numel() for each in trainer.chatbot.parameters())
    told = {
        "step_seconds": median(seconds[WARM_UP_STEPS:]),
        "reduce_seconds": median(reduced[WARM_UP_STEPS:]) if reduced else 0.0,
        "tokens": tokens,
        "parameters": size,
        "losses": losses,
    }
    print(json.dumps(told))


def run(kind: str, batch_size: int, hidden_size: int, count: int) -> dict[str, Any]:
    """Make steps in as many processes, of as many threads, as a kind has."""
    processes, threads = KINDS[kind]
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        command += [f"--master-port={PORT}"]
    command += [__file__, "--worker", f"--batch-size={batch_size}", f"--steps={count}"]
    command += [f"--hidden-size={hidden_size}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def throughput(rounds: int, batch_size: int, hidden_size: int, count: int) -> None:
    """Print tokens a second of each kind, and how much of a step is the all-reduce."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, every in found.items():
            every.append(run(kind, batch_size, hidden_size, count))
    print(
        f"batch of {batch_size} rows, hidden size {hidden_size}, {rounds} rounds of {count} steps"
    )
    first = None
    for kind, every in found.items():
        step = median(each["step_seconds"] for each in every)
        reduce = median(each["reduce_seconds"] for each in every)
        rate = every[0]["tokens"] / step
        first = first or rate
        print(
            f"{kind:28} {rate:8,.0f} tokens/s ({rate / first:.2f} times the first), step "
            f"{1e3 * step:.1f} ms, of which all-reduce {1e3 * reduce:.1f} ms "
            f"({4 * every[0]['parameters'] / 1e6:.1f} MB)"
        )


def losses(path: Path, hidden_size: int, count: int) -> bool:
    """Write the losses of one process and of two; tell whether they are equal but for rounding."""
    kinds = ("1 process, 1 thread", "2 processes, 1 thread each")
    found = {kind: run(kind, 15, hidden_size, count)["losses"] for kind in kinds}
    one, two = found.values()
    apart = [abs(a - b) for a, b in zip(one, two, strict=True)]
    path.write_text(json.dumps({"apart": max(apart), **found}, indent=1) + "\n", "utf-8")
    print(f"{len(one)} steps: losses {max(apart):.2g} nats apart at most, {apart[0]:.2g} at first")
    return bool(max(apart) < LOSS_TOLERANCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--losses", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        steps(given.batch_size, given.hidden_size, given.steps)
        return
    print(describe())
    if given.losses is None:
        throughput(given.rounds, given.batch_size, given.hidden_size, given.steps)
    elif not losses(given.losses, given.hidden_size, given.steps):
        sys.exit(f"apart by more than {LOSS_TOLERANCE:g} nats")


if __name__ == "__main__":
    main()
