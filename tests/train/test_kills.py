"""kill -9 while files are written: each run that goes on ends as one that was never stopped."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_training.py"


@pytest.mark.slow
def test_every_kind_of_fault_leads_to_the_same_end() -> None:
    """A few places here; benchmarks/kill_training.py tries all of them, and a hundred by chance."""
    ran = subprocess.run(
        [sys.executable, BENCHMARK, "--places", "--every", "20"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for kind in ("half written", "synced", "renamed", "removed", "disk full"):
        assert re.search(rf"\d {kind}", ran.stdout), ran.stdout
    counts = re.search(r"(\d+) of (\d+) runs ended bit for bit as without, 0 files", ran.stdout)
    assert counts is not None, ran.stdout
    assert counts[1] == counts[2]
