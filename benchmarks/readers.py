"""How fast Elman reads a WhatsApp export, beside other readers, and in how much memory.

    pip install chat-miner whatstk chatpack     # those that are missing are left out
    python benchmarks/readers.py --gb-memory 1 --json readers.json

The export is invented, by a seeded script: Android's format, five people, 79 bytes a message.
Everything runs in one thread; each reader gets as much of it as it can do in a second or so, all of
them in turn, and the figure is the median over the rounds. Elman's `read` does more than parse: it
tidies messages, counts what it leaves out, and cuts the chat where people paused; to find out by
itself how long a pause is, it reads everything once more.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import logging
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter

from machine import describe

from elman.data.readers import Reading, read
from elman.data.source import documents

SAID = (
    "the a to of and I you it is that we for on my what so not just can be this at have do like "
    "know ok yes no haha lol über schön café naïve 😂 ❤️ tomorrow maybe train dinner think really"
)
WORDS = SAID.split()
PEOPLE = ["Ann", "Bo Larsen", "~\u202fCleo", "+49 170 5550123", "Dr. Émile"]

# In a process of its own, so that the peak is that of reading alone; Linux's getrusage would count
# what the process held that started it.
PEAK = """
import resource, sys
from pathlib import Path
from elman.data.readers import read
from elman.data.source import documents

def peak():
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

before = peak()
count = sum(len(conversation.messages) for conversation in read(documents(sys.argv[1])))
print(count, before, peak())
"""


def write_export(path: Path, megabytes: float, seed: int = 0) -> int:
    """An export of about that size; the number of its messages."""
    generator = random.Random(seed)
    time, written, messages = datetime(2019, 3, 1, 8), 0, 0
    with path.open("wb") as file:
        while written < megabytes * 1e6:
            lines = []
            for _ in range(2000):
                time += timedelta(
                    seconds=generator.choice([15] * 14 + [5, 20, 60, 200, 900, 40000])
                )
                text = " ".join(generator.choices(WORDS, k=generator.randint(1, 20)))
                kind = generator.random()
                if kind < 0.03:
                    text = "<Media omitted>"
                elif kind < 0.04:
                    text = "This message was deleted"
                elif kind < 0.09:
                    text += "\n" + " ".join(generator.choices(WORDS, k=8))
                author = generator.choice(PEOPLE)
                lines.append(f"{time:%d/%m/%Y, %H:%M} - {author}: {text}\n")
            written += file.write("".join(lines).encode())
            messages += len(lines)
    return messages


def elman(path: Path) -> int:
    return sum(len(conversation.messages) for conversation in read(documents(path)))


def elman_with_a_gap(path: Path) -> int:
    reading = Reading(gap=3600.0)
    found = read(documents(path), reading=reading)
    return sum(len(conversation.messages) for conversation in found)


def chatpack(path: Path) -> int:
    return len(import_module("chatpack").parse_whatsapp(str(path)))


def whatstk(path: Path) -> int:
    # Told the format; to find it out itself takes it twice as long.
    frame = import_module("whatstk").df_from_whatsapp(str(path), hformat="%d/%m/%Y, %H:%M - %name:")
    return len(frame)


def chat_miner(path: Path) -> int:
    parsers = import_module("chatminer.chatparsers")
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
        parser = parsers.WhatsAppParser(str(path))
        parser.parse_file()
        return len(parser.parsed_messages.get_df())


# What runs, its package, and the share of the export that it gets.
CONTENDERS: dict[str, tuple[Callable[[Path], int], str, float]] = {
    "elman, gap of an hour": (elman_with_a_gap, "elman", 1.0),
    "elman, gap from the data": (elman, "elman", 1.0),
    "chatpack": (chatpack, "chatpack", 1.0),
    "whatstk, told the format": (whatstk, "whatstk", 0.25),
    "chat-miner": (chat_miner, "chat-miner", 0.0625),
}


def installed() -> list[str]:
    """The contenders that can run; says which cannot."""
    found = []
    for name, (_, package, _) in CONTENDERS.items():
        try:
            importlib.metadata.version(package)
            found.append(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is left out: {package} is not installed.")
    return found


def speeds(folder: Path, megabytes: float, rounds: int) -> dict[str, dict[str, float | str]]:
    """Megabytes a second of every contender, each in turn, by name."""
    names = installed()
    paths: dict[float, Path] = {}
    for name in names:
        share = CONTENDERS[name][2]
        if share not in paths:
            paths[share] = folder / f"WhatsApp Chat {len(paths)}.txt"
            write_export(paths[share], megabytes * share)
    rates: dict[str, list[float]] = {name: [] for name in names}
    counts = {}
    for _ in range(rounds + 1):
        for name in names:
            run, _, share = CONTENDERS[name]
            begin = perf_counter()
            counts[name] = run(paths[share])
            rates[name].append(paths[share].stat().st_size / 1e6 / (perf_counter() - begin))
    return {
        name: {
            "version": importlib.metadata.version(CONTENDERS[name][1]),
            "megabytes": round(paths[CONTENDERS[name][2]].stat().st_size / 1e6, 1),
            "messages": counts[name],
            "megabytes a second": round(median(rates[name][1:]), 2),  # the first round warms up
        }
        for name in names
    }


def peak_memory(folder: Path, gigabytes: float) -> dict[str, float]:
    """Megabytes of resident memory at the most, before reading and in the end."""
    path = folder / "WhatsApp Chat, large.txt"
    messages = write_export(path, gigabytes * 1000)
    output = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    ).stdout
    count, before, peak = output.split()
    path.unlink()
    return {
        "gigabytes": gigabytes,
        "messages": messages,
        "kept": int(count),
        "before, MB": round(float(before)),
        "peak, MB": round(float(peak)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=float, default=64, help="size of the export, in megabytes")
    parser.add_argument("--gb-memory", type=float, default=1, help="of the one for memory; 0: none")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, help="a site-packages folder with the others in it")
    parser.add_argument("--json", type=Path, help="write every figure here")
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers))
    logging.disable(logging.WARNING)
    results: dict[str, object] = {"machine": describe()}
    print(results["machine"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = speeds(Path(folder), arguments.mb, arguments.rounds)
        results["speed"] = found
        print("\n| reader | version | export, MB | messages | MB/s |\n|---|---|--:|--:|--:|")
        for name, row in found.items():
            print(f"| {name} | {' | '.join(str(value) for value in row.values())} |", flush=True)
        if arguments.gb_memory:
            memory = peak_memory(Path(folder), arguments.gb_memory)
            results["memory"] = memory
            print("\n" + ", ".join(f"{name}: {value:,}" for name, value in memory.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
