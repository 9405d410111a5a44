"""Arrays and JSON facts in one safetensors file, whose header is checked before they are read."""

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors
from safetensors.numpy import save

from elman.data.files import write_file
from elman.data.untrusted import parse_json
from elman.errors import ElmanError
from elman.model.folder import INT8_SCALE

MAX_HEADER_BYTES = 1 << 24
"""Bytes of a header, which names arrays and a few facts; safetensors itself would take 100 MB."""

METADATA = "__metadata__"
"""Where a header of safetensors has what is no array."""

FACTS_KEY = "elman"
"""Where its metadata has facts, as JSON."""

CHECKSUM = "sha256"
"""Where the facts of a file have the digest of all that it holds."""

HALVES = ("float16", "bfloat16")

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""Kinds of numbers by their names in safetensors."""


class ArraySpec(NamedTuple):
    """What a header says of an array; `dtype` is the name that numpy and torch share."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape)) or "a single number"
        return f"{size} of {self.dtype}"


ArrayHeader = Mapping[str, ArraySpec]
Check = Callable[[ArrayHeader, dict[str, Any]], None]
"""Given a header and the facts; raises ElmanError where they are not what is to be read."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and JSON metadata as one safetensors file. A link is replaced, not followed."""
    whole = {name: np.ascontiguousarray(each) for name, each in arrays.items()}
    write_file(path, save(whole, packed_facts(metadata)), follow_link=False)


def packed_facts(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return JSON metadata as the header of a file keeps it."""
    return {FACTS_KEY: json.dumps(metadata)}


def read_arrays(
    path: Path, check: Check | None = None, mapped: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_arrays` wrote. Numbers of bfloat16 come as float32.

    Args:
        path: of the file.
        check: looks at the header before any array is read.
        mapped: whether matrices stay in the file, which is mapped into memory until the last of
            them is dropped. Keep copies only: a file cannot be replaced on Windows meanwhile.

    Raises:
        ElmanError: where the file is missing, damaged or not Elman's, or a number is none.
    """
    # Each is read where it will lie: safetensors' own reading would hold the file three times.
    with opened(path, "np", check) as (_, facts), path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin = file.tell()
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else None
        arrays = {
            n: _array(file, begin, each, whole) for n, each in header.items() if n != METADATA
        }
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise not_finite(path, name)
    return arrays, facts


@contextmanager
def opened(
    path: Path, framework: str, check: Check | None = None
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a file for a framework of safetensors, and check its header.

    Raises:
        ElmanError: where the file is missing, damaged, truncated or not Elman's.
    """
    if not path.is_file():
        raise ElmanError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as raw:
            header_bytes = int.from_bytes(raw.read(8), "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise ElmanError(
                f"{path}: damaged or truncated: its header would be {header_bytes:,} bytes long"
            )
        with safetensors.safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            if FACTS_KEY not in metadata:
                raise ElmanError(f"{path}: not written by Elman")
            facts = parse_json(metadata[FACTS_KEY], path)
            if not isinstance(facts, dict):
                raise ElmanError(f"{path}: not written by Elman")
            header = {name: _spec(path, name, file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
            if check is not None:
                check(header, facts)
            yield file, facts
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ElmanError(f"{path}: damaged or truncated: {error}") from None


def not_finite(path: Path, name: str) -> ElmanError:
    """Say that a file holds NaN or infinity."""
    return ElmanError(f"{path}: {name!r} holds numbers that are none (NaN or infinity)")


def _spec(path: Path, name: str, stored: Any) -> ArraySpec:
    kind = stored.get_dtype()
    if kind not in DTYPES:
        raise ElmanError(f"{path}: {name!r} is of {kind}, which Elman never writes")
    return ArraySpec(tuple(stored.get_shape()), DTYPES[kind])


def _array(
    file: BinaryIO, begin: int, stored: Mapping[str, Any], whole: mmap.mmap | None
) -> np.ndarray:
    kind, shape = DTYPES[stored["dtype"]], stored["shape"]
    at, size = begin + stored["data_offsets"][0], math.prod(shape)
    if whole is not None and kind in ("int8", "float32") and len(shape) == 2 and size:
        return np.require(np.frombuffer(whole, kind, size, at).reshape(shape), requirements="A")
    file.seek(at)
    if kind == "bfloat16":  # the upper half of a float32
        halves = np.fromfile(file, np.uint16, size).astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(shape)
    return np.fromfile(file, kind, size).reshape(shape)


def check_header(
    path: Path, header: ArrayHeader, expected: ArrayHeader, of: str, int8: bool = False
) -> None:
    """Compare a header with what is expected.

    Args:
        path: of the file.
        header: what it says.
        expected: every array; where a float32 one is, fewer bits will do.
        of: what decides what is expected.
        int8: whether matrices may be of int8, with a scale for each row.

    Raises:
        ElmanError: naming the first array that is missing, too many, or another.
    """
    header = _restored(header) if int8 else header
    wrong = [f"{name!r} is missing" for name in expected if name not in header]
    wrong += [f"{name!r} has no place" for name in header if name not in expected]
    wrong += [
        f"{name!r} is {header[name]}, expected {spec}"
        for name, spec in expected.items()
        if name in header and not _fits(header[name], spec)
    ]
    if wrong:
        more = f", and {len(wrong) - 1:,} more" if wrong[1:] else ""
        raise ElmanError(f"{path}: does not fit {of}: {wrong[0]}{more}")


def _restored(header: ArrayHeader) -> dict[str, ArraySpec]:
    """Return a header in which int8 matrices with their scales are the float32 ones they mean."""
    found = dict(header)
    for name, spec in header.items():
        scale = ArraySpec(spec.shape[:1], "float32")
        is_matrix = spec.dtype == "int8" and len(spec.shape) == 2
        if is_matrix and header.get(name + INT8_SCALE) == scale:
            found[name] = ArraySpec(spec.shape, "float32")
            del found[name + INT8_SCALE]
    return found


def _fits(found: ArraySpec, expected: ArraySpec) -> bool:
    same = found.dtype == expected.dtype
    return found.shape == expected.shape and (
        same or (expected.dtype == "float32" and found.dtype in HALVES)
    )
