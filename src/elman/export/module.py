"""The compiled library for a browser: how it is built, and of which sources the one here is made.

`python -m elman.export.module` builds it anew, with Debian's emscripten. What it is made of is kept
beside it, so that a test can tell where the sources have changed since.
"""

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import elman
from elman.data.files import write_file
from elman.errors import ElmanError

PAGE_FOLDER = Path(__file__).with_name("page")

MODULE = "elman.wasm"
MADE_OF = "elman.wasm.json"
"""Beside it: digests of the module and of its sources, and the compiler."""

SOURCES = Path(elman.__file__).parent / "native" / "csrc"
COMPILED = ("variant.cpp", "read.cpp", "entry.cpp")

COMPILER = "emcc"
EXPORTED = ("elman_use", "elman_struct_size", "elman_packed_size", "elman_pack", "elman_read",
            "malloc", "free")  # fmt: skip
FLAGS = (
    "-std=c++17", "-O3", "-msimd128", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-Wno-unknown-pragmas", "-DELMAN_ISA=simd128", "-DELMAN_WIDTH=4", "--no-entry",
    "-sSTANDALONE_WASM=1", "-sALLOW_MEMORY_GROWTH=1", "-sMAXIMUM_MEMORY=2147483648",
    "-sINITIAL_MEMORY=33554432", "-sTOTAL_STACK=1048576", "-sFILESYSTEM=0",
    f"-sEXPORTED_FUNCTIONS={','.join(f'_{name}' for name in EXPORTED)}",
)  # fmt: skip


def sources_digest(sources: Path = SOURCES) -> str:
    """Digest everything that the module is made of: flags, and the sources of a folder."""
    digest = hashlib.sha256(" ".join((*FLAGS, *COMPILED)).encode())
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def compiler() -> str | None:
    """Return the compiler and its version; None: there is none."""
    try:
        ran = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return ran.stdout.splitlines()[0].strip()


def build(sources: Path = SOURCES) -> bytes:
    """Build the module of the sources in a folder.

    Raises:
        ElmanError: where it cannot be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / MODULE
        try:
            ran = subprocess.run(  # noqa: S603
                [COMPILER, *FLAGS, *COMPILED, "-o", str(out)],
                cwd=sources, capture_output=True, text=True, check=False,
            )  # fmt: skip
        except OSError:
            raise ElmanError("needs emscripten: apt-get install emscripten") from None
        if ran.returncode:
            raise ElmanError(f"{COMPILER}: {ran.stderr[-2000:]}")
        return out.read_bytes()


def read_made_of() -> dict[str, Any]:
    """Return what the module here was made of."""
    found: dict[str, Any] = json.loads((PAGE_FOLDER / MADE_OF).read_text("utf-8"))
    return found


def main() -> None:
    """Build the module, and write it with what it was made of."""
    module = build()
    made_of = {
        "module": hashlib.sha256(module).hexdigest(),
        "sources": sources_digest(),
        "compiler": compiler(),
    }
    write_file(PAGE_FOLDER / MODULE, module)
    write_file(PAGE_FOLDER / MADE_OF, json.dumps(made_of, indent=2) + "\n")


if __name__ == "__main__":
    main()
