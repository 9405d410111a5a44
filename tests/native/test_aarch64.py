"""The compiled library for ARM (NEON), run under qemu: it computes what this processor computes."""

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from elman.native.library import library_file
from tests.native.test_sanitizers import CSRC, HERE, ROOT, run

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"


@pytest.mark.slow
def test_it_computes_the_same(tmp_path: Path) -> None:
    own = library_file()
    if own is None or platform.machine() != "x86_64":
        pytest.skip("there is nothing to compare with")
    for tool in ("cmake", "g++", COMPILER, EMULATOR):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install qemu-user g++-aarch64-linux-gnu")
    cross = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    build = tmp_path / "build"
    run(["cmake", "-S", str(ROOT), "-B", str(build), *cross, f"-DCMAKE_CXX_COMPILER={COMPILER}"])
    run(["cmake", "--build", str(build), "--parallel", "2"])

    found = {}
    for isa, library, compiler, before in (
        ("avx2", own, "g++", []),
        ("neon", build / "libelman.so", COMPILER, [EMULATOR, "-L", SYSTEM]),
    ):
        loops, numbers = tmp_path / f"loops-{isa}", tmp_path / f"{isa}.bin"
        flags = ["-std=c++17", "-O1", f"-I{CSRC}", "-ldl", "-pthread"]
        run([compiler, str(HERE / "loops.cpp"), "-o", str(loops), *flags])
        run([*before, str(loops), str(library), isa, str(numbers)])
        if isa == "neon":  # alone and in a team, drawn from what is hostile, and so on
            assert run([*before, str(loops), str(library)]).split() == ["neon"]
        found[isa] = np.fromfile(numbers, np.float32)
    assert len(found["neon"]) > 100_000
    np.testing.assert_allclose(found["neon"], found["avx2"], rtol=2e-5, atol=2e-6)
