"""How fast a corpus on disk is built of how much text, and in how much memory; then trained on.

    python benchmarks/build.py --gb 1 --workers 1 2 --train-steps 50 --json build.json

The conversations are invented by a seeded script, as JSON Lines, with a time each. Memory is the
sum over all processes of what is theirs alone and their share of the rest (PSS), looked at four
times a second; what the system keeps of mapped files could be given up at any time, so it is told
apart. All that is made lies in a temporary folder below --folder and is deleted.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from machine import describe

SAID = (
    "the a to of and I you it is that we for on my what so not just can be this at have do like "
    "know ok yes no haha tomorrow maybe train dinner think really where when who time good look "
    "over there kettle window music garden river letter market winter Anna Lisbon café schön"
)
WORDS = SAID.split()


def write_conversations(path: Path, gigabytes: float, seed: int = 0) -> int:
    """Write conversations of about 1.5 KB until the file is so large; return how many."""
    draw, number, written = random.Random(seed), 0, 0
    rare = [f"{draw.choice(WORDS)}{draw.choice(WORDS)}{n}" for n in range(20_000)]
    said = [
        " ".join(
            draw.choice(rare) if draw.random() < 0.05 else draw.choice(WORDS)
            for _ in range(draw.randint(3, 30))
        )
        for _ in range(20_000)
    ]
    with path.open("wb") as file:
        while written < gigabytes * 1e9:
            lines = []
            for _ in range(1000):
                begin = 1_500_000_000 + 60 * number
                turns = [
                    {
                        "speaker": ("Ann", "Bo")[turn % 2],
                        "text": f"{draw.choice(said)} {draw.randint(0, 9999)}",
                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin + turn)),
                    }
                    for turn in range(draw.randint(4, 16))
                ]
                lines.append(json.dumps({"id": f"talk {number}", "turns": turns}) + "\n")
                number += 1
            written += file.write("".join(lines).encode())
    return number


class MemoryWatch:
    """Watches a process and all that it starts, until it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak = self.peak_files = self.peak_process = 0
        self.seconds: dict[int, float] = {}
        self._process = process
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def wait(self) -> int:
        code = self._process.wait()
        self._thread.join()
        return code

    @property
    def cpu_seconds(self) -> float:
        """Seconds of processors, as last seen of each process."""
        return sum(self.seconds.values())

    def _watch(self) -> None:
        while self._process.poll() is None:
            pids = family(self._process.pid)
            sizes = [size for pid in pids if (size := memory_of(pid))]
            self.seconds |= {pid: used for pid in pids if (used := seconds_of(pid)) is not None}
            own = [anonymous for anonymous, _ in sizes]
            if own and sum(own) > self.peak:
                self.peak, self.peak_process = sum(own), max(own)
            self.peak_files = max(self.peak_files, sum(files for _, files in sizes))
            time.sleep(0.25)


def family(pid: int) -> list[int]:
    """List a process and all below it."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def memory_of(pid: int) -> tuple[int, int] | None:
    """Read the bytes of a process's memory: its own (PSS), and those of mapped files."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Pss_Anon:"], sizes["Pss_File:"]


def seconds_of(pid: int) -> float | None:
    """Read the processor seconds that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command and say how long it took, in how much memory and on how many cores."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watch = MemoryWatch(process)
    if code := watch.wait():
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    seconds = time.perf_counter() - begin
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(watch.cpu_seconds, 1),
        "peak_mb": round(watch.peak / 1e6),
        "largest_process_mb": round(watch.peak_process / 1e6),
        "mapped_files_mb": round(watch.peak_files / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, nargs="+", default=[0.2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--train-steps", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    elman = [sys.executable, "-m", "elman"]
    results: list[dict[str, Any]] = []
    for gigabytes in asked.gb:
        if shutil.disk_usage(asked.folder).free < 2.2e9 * gigabytes:
            raise SystemExit(f"{asked.folder}: too little room for {gigabytes} GB and its corpus")
        with tempfile.TemporaryDirectory(dir=asked.folder, prefix="elman-build-") as home:
            chats, out = Path(home) / "chats.jsonl", Path(home) / "corpus"
            number = write_conversations(chats, gigabytes)
            size = chats.stat().st_size
            for workers in asked.workers:
                shutil.rmtree(out, ignore_errors=True)
                build = [*elman, "data", "build", str(chats), "--out", str(out), "--bot", "Ann"]
                found = measured([*build, "--workers", str(workers)])
                made = sum(each.stat().st_size for each in out.iterdir())
                found |= {
                    "what": "build",
                    "gb": round(size / 1e9, 3),
                    "conversations": number,
                    "workers": workers,
                    "mb_per_second": round(size / 1e6 / found["seconds"], 2),
                    "mb_per_cpu_second": round(size / 1e6 / found["cpu_seconds"], 2),
                    "cores_used": round(found["cpu_seconds"] / found["seconds"], 2),
                    "corpus_mb": round(made / 1e6),
                }
                print(json.dumps(found), flush=True)
                results.append(found)
            if asked.train_steps:
                steps = ["--set", f"train.steps={asked.train_steps}"]
                bot = ["--out", f"{home}/bot", "--base", "none"]
                found = measured([*elman, "train", str(out), *bot, *steps])
                found |= {"what": "train", "gb": round(size / 1e9, 3), "steps": asked.train_steps}
                print(json.dumps(found), flush=True)
                results.append(found)
    if asked.json:
        about = {"machine": describe(), "cores": os.cpu_count(), "results": results}
        asked.json.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
