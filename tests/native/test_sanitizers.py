"""The compiled library under sanitizers: memory, undefined behaviour, and threads."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.test_decoders import CONFIGS, LIBRARY, made, weights_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CSRC = ROOT / "src/elman/native/csrc"

BOTS = ["tokens-lstm", "messages-gru", "tokens-long", "messages-mixed", "tokens-plain"]

OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps some memory until its end
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1 exitcode=66 ignore_noninstrumented_modules=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_nothing_is_found(sanitizers: str, tmp_path: Path) -> None:
    name = f"lib{sanitizers[0]}san.so"
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("needs g++ and cmake")
    runtime = run(["g++", f"-print-file-name={name}"]).strip()
    if not Path(runtime).is_absolute():
        pytest.skip(f"g++ has no {name}")
    run(["cmake", "-S", str(ROOT), "-B", str(tmp_path), f"-DELMAN_SANITIZE={sanitizers}"])
    run(["cmake", "--build", str(tmp_path), "--parallel", "2"])
    library, loops = tmp_path / "libelman.so", tmp_path / "loops"

    flags = [
        "-std=c++17",
        "-O1",
        "-g1",
        f"-fsanitize={sanitizers}",
        f"-I{CSRC}",
        "-ldl",
        "-pthread",
    ]
    run(["g++", str(HERE / "loops.cpp"), "-o", str(loops), *flags])
    tried = run([str(loops), str(library)]).split()
    assert tried == list(LIBRARY.sets if LIBRARY else ())

    bots = []
    for each in BOTS:
        bots.append(tmp_path / f"{each}.pickle")
        bots[-1].write_bytes(pickle.dumps(weights_of(CONFIGS[each], made(CONFIGS[each]))))
    command = [sys.executable, str(HERE / "read_bots.py"), str(library), *map(str, bots)]
    assert run(command, LD_PRELOAD=runtime) == f"{len(BOTS)} bots\n"


def run(command: list[str], **more: str) -> str:
    """Run a command; return what it prints, or fail with all that it said."""
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | OPTIONS | more, timeout=1800
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr[-6000:]}"
    return ran.stdout
