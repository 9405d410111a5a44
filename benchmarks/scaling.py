"""Where more machines pay and where they stop: a small simulator, and what it was measured by.

    python benchmarks/scaling.py                     # the tables of docs/scale.md
    python benchmarks/scaling.py --measure scaling.json --built build.json

`--measure` counts processor seconds and not the clock's, so that it can run on a shared machine. It
fits two lines: the seconds of a training step by its rows, and those of an exchange by its bytes.
Then it measures whole steps that the lines were not fitted to, of one process and of two that
torch's gloo joins, for `tests/test_scaling.py` to hold the simulator to.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

MEASURED = Path(__file__).with_name("scaling.json")

MAX_ERROR = 0.25
"""Share by which a simulated step may differ from a measured one."""

FIT_ROWS, CHECKED_ROWS = (4, 32), (8, 16)
EXCHANGED_NUMBERS = (1 << 16, 1 << 22)
UNFOLD = 64


@dataclass(frozen=True)
class TrainingCost:
    """What a step of training costs one of N processes.

    Args:
        step_seconds: of a step without rows.
        row_seconds: of each row of its batch.
        exchange_seconds: of an exchange of nothing.
        bytes_per_second: of what one process sends and receives.
    """

    step_seconds: float
    row_seconds: float
    exchange_seconds: float
    bytes_per_second: float

    def step(self, processes: int, rows: float, gradient_bytes: float) -> float:
        """Seconds of a step in which each process has so many rows."""
        return (
            self.step_seconds + rows * self.row_seconds + self.exchange(processes, gradient_bytes)
        )

    def exchange(self, processes: int, gradient_bytes: float) -> float:
        """Seconds of a ring all-reduce: each process sends 2 (N - 1) / N of the gradient."""
        if processes == 1:
            return 0.0
        sent = 2 * (processes - 1) / processes * gradient_bytes
        return self.exchange_seconds + sent / self.bytes_per_second

    def speedup(self, processes: int, rows: float, gradient_bytes: float) -> float:
        """How many times as many rows N processes learn in the same time, each with `rows`."""
        one = self.step(1, rows, gradient_bytes)
        return processes * one / self.step(processes, rows, gradient_bytes)

    @classmethod
    def fitted(cls, measured: Mapping[str, Any]) -> "TrainingCost":
        """Fit the lines to what was measured of single steps and of exchanges."""
        step, row = line(measured["fit"]["steps"])
        exchange, byte = line(measured["fit"]["exchanges"])
        return cls(max(step, 0.0), row, max(exchange, 0.0), 1 / byte)


def line(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return where a line through the first and the last point begins, and its slope."""
    (x, y), (other_x, other_y) = points[0], points[-1]
    slope = (other_y - y) / (other_x - x)
    return y - slope * x, slope


def errors(measured: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield each step that was kept apart: its name, and its seconds as measured and simulated."""
    cost = TrainingCost.fitted(measured)
    for each in measured["checked"]:
        processes, rows = each["processes"], each["rows_each"]
        simulated = cost.step(processes, rows, measured["gradient_bytes"])
        yield f"{processes} x {rows} rows", each["seconds"], simulated


# The figures on paper.

GIGABIT = 1e9 / 8
"""Bytes a second."""
EXCHANGE_SECONDS = 1e-4
"""Of one exchange between machines, whatever is sent; assumed."""
WEIGHTS, CORE_FLOPS = 1e7, 5e10
"""Of a network, and operations a second of one core; assumed."""
PROCESSES = (2, 8, 64, 512)


@dataclass(frozen=True)
class Cluster:
    """Processes that learn together, each with so much speed and so many rows of the batch."""

    process: str
    flops: float
    rows: int
    gigabits: float

    def cost(self) -> TrainingCost:
        row = 6 * WEIGHTS * UNFOLD / self.flops
        return TrainingCost(0.0, row, EXCHANGE_SECONDS, self.gigabits * GIGABIT)

    def communication_share(self) -> float:
        """Return the time of an exchange over that of the arithmetic, with very many processes."""
        cost = self.cost()
        sent = cost.exchange_seconds + 2 * 4 * WEIGHTS / cost.bytes_per_second
        return sent / (self.rows * cost.row_seconds)

    def speedups(self) -> list[float]:
        return [self.cost().speedup(n, self.rows, 4 * WEIGHTS) for n in PROCESSES]


CLUSTERS = (
    Cluster("a core", CORE_FLOPS, 16, 1),
    Cluster("a core", CORE_FLOPS, 16, 10),
    Cluster("a core", CORE_FLOPS, 64, 1),
    Cluster("16 cores", 16 * CORE_FLOPS, 64, 1),
    Cluster("16 cores", 16 * CORE_FLOPS, 256, 10),
    Cluster("a GPU of 20 TFLOP/s", 2e13, 256, 10),
    Cluster("a GPU of 20 TFLOP/s", 2e13, 256, 100),
    Cluster("a core over the internet", CORE_FLOPS, 16, 0.02),
)

USERS = (1_000, 100_000, 1_000_000)
MESSAGES_A_DAY, PEAK_FACTOR, REPLY_TOKENS, HEARD_TOKENS, RANKED = 20, 5, 20, 20, 1
KEPT_STATES = 8
"""States of a user that are kept; assumed, like the numbers above."""
WRITES_A_REPLY, DATABASE_WRITES = 2, 2_000
"""Transactions of a turn, and what one PostgreSQL machine commits a second; assumed."""
SERVED_SHARE = 0.5
"""Of a core, that is meant to be used at the peak."""

BYTES_A_TOKEN, TOKEN_BYTES = 3.8, 2
CORPORA = {"1 GB": 1e9, "1 TB": 1e12, "10 TB": 1e13}


def serving(measured: Mapping[str, Any], users: int) -> dict[str, float]:
    """Say what so many users need: replies a second at the peak, cores, states, databases."""
    replies = users * MESSAGES_A_DAY * PEAK_FACTOR / 86_400
    seconds = (
        HEARD_TOKENS * measured["read_seconds_a_token"]
        + RANKED * REPLY_TOKENS * measured["say_seconds_a_token"]
    )
    return {
        "users": users,
        "replies_a_second": replies,
        "cores": replies * seconds / SERVED_SHARE,
        "states_gb": users * KEPT_STATES * measured["state_bytes"] / 1e9,
        "writes_a_second": replies * WRITES_A_REPLY,
        "databases": replies * WRITES_A_REPLY / DATABASE_WRITES,
    }


def corpus(measured: Mapping[str, Any], text_bytes: float) -> dict[str, float]:
    """Say what so much text needs: to build it, to keep it, and to read it once in training."""
    tokens = text_bytes / BYTES_A_TOKEN
    operations = 6 * WEIGHTS * tokens
    return {
        "build_core_hours": text_bytes / 1e6 / measured["build_mb_per_cpu_second"] / 3600,
        "disk_gb": tokens * TOKEN_BYTES / 1e9,
        "core_years_a_pass": operations / CORE_FLOPS / 3600 / 24 / 365,
    }


def show(measured: Mapping[str, Any]) -> None:
    print("| each process | rows | Gbit/s | exchange / arithmetic | x 2 | x 8 | x 64 | x 512 |")
    print("|---|---|---|---|---|---|---|---|")
    for each in CLUSTERS:
        cells = " | ".join(f"{speedup:.1f}" for speedup in each.speedups())
        share = each.communication_share()
        print(f"| {each.process} | {each.rows} | {each.gigabits:g} | {share:.2f} | {cells} |")
    print("\n| users | replies a second | cores | states | writes a second | databases |")
    print("|---|---|---|---|---|---|")
    for users in USERS:
        needed = serving(measured, users)
        print(
            f"| {users:,} | {needed['replies_a_second']:,.0f} | {needed['cores']:,.1f} | "
            f"{needed['states_gb']:,.1f} GB | {needed['writes_a_second']:,.0f} | "
            f"{needed['databases']:.1f} |"
        )
    print("\n| text | to build | tokens on disk | one pass of 10 M weights |")
    print("|---|---|---|---|")
    for name, size in CORPORA.items():
        needed = corpus(measured, size)
        print(
            f"| {name} | {needed['build_core_hours']:,.1f} core hours | "
            f"{needed['disk_gb']:,.1f} GB | {needed['core_years_a_pass']:,.2f} core years |"
        )
    print("\n| step | measured | simulated | error |")
    print("|---|---|---|---|")
    for name, seconds, simulated in errors(measured):
        error = simulated / seconds - 1
        print(f"| {name} | {1e3 * seconds:.1f} ms | {1e3 * simulated:.1f} ms | {error:+.0%} |")


# What is measured.


def trainer_of(rows: int, world: Any = None) -> Any:
    """Make a trainer of a small network on tokens by chance."""
    import numpy as np

    from elman.data.corpus import Corpus
    from elman.data.tokenizer import END, Tokenizer
    from elman.train import Config
    from elman.train.distributed import ALONE
    from elman.train.prepare import Data
    from elman.train.trainer import Trainer

    draw = np.random.default_rng(0)
    talks = [np.r_[1, draw.integers(4, 260, 300), END].astype(np.uint16) for _ in range(400)]
    config = Config.make(
        {
            "data": {"path": "-", "vocabulary": 260},
            "model": {"hidden_size": 256, "layers": 2, "pointer": 0, "ngrams": 0, "dropout": 0.0},
            "train": {
                "batch_size": rows, "unfold": UNFOLD, "unit": "steps", "lr": 1e-3, "steps": 1,
                "precision": "float32", "base": None,
            },
        }
    )  # fmt: skip
    data = Data(Tokenizer.train((), 260), Corpus.of(talks), None, config)
    return Trainer.of(config, data, world or ALONE)


def cpu_seconds(action: Any, times: int) -> float:
    """Return the median of the processor seconds that an action takes."""
    action()
    found = []
    for _ in range(times):
        begin = time.process_time()
        action()
        found.append(time.process_time() - begin)
    return median(found)


def measure_alone(times: int) -> dict[str, Any]:
    trainers = {rows: trainer_of(rows) for rows in (*FIT_ROWS, *CHECKED_ROWS)}
    steps = {rows: cpu_seconds(each.step, times) for rows, each in trainers.items()}
    weights = sum(each.numel() for each in trainers[FIT_ROWS[0]].chatbot.parameters())
    return {"steps": steps, "gradient_bytes": 4 * weights}


def joined_process(rank: int, port: int, times: int, out: str) -> None:
    """Measure what only two processes together show; the first writes it down."""
    import torch
    import torch.distributed as dist

    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)
    }  # fmt: skip
    torch.set_num_threads(1)
    from elman.train.joining import joined

    with joined() as world:
        exchanges = []
        for numbers in EXCHANGED_NUMBERS:
            tensor = torch.ones(numbers)
            seconds = cpu_seconds(lambda tensor=tensor: dist.all_reduce(tensor.fill_(1)), times)
            exchanges.append((4 * numbers, seconds))
        steps = []
        for rows in CHECKED_ROWS:
            trainer = trainer_of(2 * rows, world)
            if world.leads:
                steps.append((rows, cpu_seconds(trainer.step, times)))
                trainer.dismiss()
            else:
                trainer.follow()
        if world.leads:
            Path(out).write_text(json.dumps({"exchanges": exchanges, "steps": steps}))


def measure_serving(times: int) -> dict[str, float]:
    import numpy as np

    from elman.generate.drawing import reply_batch
    from elman.generate.sampling import SamplingParams
    from elman.runtime.choose import load_bot

    bot = load_bot("base")
    decoder = bot.decoder
    ids = bot.tokenizer.encode("where do you think we could go this evening")[: HEARD_TOKENS - 2]
    message = np.array([1, *ids, 0], np.uint16)
    state = decoder.initial_state(1)
    read = cpu_seconds(lambda: decoder.read([[message]], state), times) / len(message)
    heard = decoder.read([[message]], state)
    said: list[int] = []

    def say() -> None:
        params = SamplingParams(max_tokens=REPLY_TOKENS, seed=len(said))
        said.append(len(reply_batch(decoder, heard, params)[0].tokens))

    seconds = cpu_seconds(say, times)
    return {
        "state_bytes": sum(part.nbytes for part in state),
        "read_seconds_a_token": read,
        "say_seconds_a_token": seconds / max(1.0, median(said)),
    }


def measure(path: Path, times: int, built: Path) -> None:
    import tempfile

    import torch
    from machine import describe
    from torch.multiprocessing.spawn import spawn

    torch.set_num_threads(1)
    alone = measure_alone(times)
    serving_costs = measure_serving(times)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/joined.json"
        spawn(joined_process, (port, times, out), nprocs=2)
        together = json.loads(Path(out).read_text())
    steps = alone["steps"]
    checked = [{"processes": 1, "rows_each": rows, "seconds": steps[rows]} for rows in CHECKED_ROWS]
    checked += [
        {"processes": 2, "rows_each": rows, "seconds": seconds}
        for rows, seconds in together["steps"]
    ]
    found: dict[str, Any] = {
        "machine": describe(),
        "clock": "processor seconds of one process, on one thread",
        "gradient_bytes": alone["gradient_bytes"],
        "fit": {
            "steps": [(rows, steps[rows]) for rows in FIT_ROWS],
            "exchanges": together["exchanges"],
        },
        "checked": checked,
        **serving_costs,
    }
    results = json.loads(built.read_text())["results"]
    speeds = [each["mb_per_cpu_second"] for each in results if each["what"] == "build"]
    found["build_mb_per_cpu_second"] = speeds[-1]
    path.write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", type=Path, metavar="JSON")
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--built", type=Path, help="what benchmarks/build.py --json wrote")
    asked = parser.parse_args()
    if asked.measure is not None:
        if asked.built is None:
            parser.error("--measure needs --built, what benchmarks/build.py --json wrote")
        measure(asked.measure, asked.times, asked.built)
    path = asked.measure or MEASURED
    if not path.exists():
        sys.exit(f"{path}: nothing was measured yet: --measure")
    show(json.loads(path.read_text()))


if __name__ == "__main__":
    main()
