"""Tensors and JSON facts in one safetensors file, whose header is checked before they are read."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from elman.bptt.decode import Rounded
from elman.data.files import write_file
from elman.data.untrusted import parse_json
from elman.errors import ElmanError
from elman.model.folder import INT8_SCALE

MAX_HEADER_BYTES = 1 << 24
"""Bytes of a header, which names tensors and a few facts; safetensors itself would take 100 MB."""

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Kinds of numbers by their names in safetensors."""


class TensorSpec(NamedTuple):
    """What a header says of a tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape)) or "a single number"
        return f"{size} of {str(self.dtype).removeprefix('torch.')}"


TensorHeader = Mapping[str, TensorSpec]
Check = Callable[[TensorHeader, dict[str, Any]], None]
"""Given a header and the facts; raises ElmanError where they are not what is to be read."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file. A link is replaced, not followed."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_file(path, save(contiguous, {"elman": json.dumps(metadata)}), follow_link=False)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write numpy arrays as `write_tensors` writes tensors."""
    write_tensors(path, {name: torch.from_numpy(each) for name, each in arrays.items()}, metadata)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_arrays` wrote.

    Raises:
        ElmanError: where the file is missing, damaged or not Elman's, or a number is none.
    """
    tensors, facts = read_tensors(path)
    check_finite(path, tensors)
    return {name: tensor.numpy() for name, tensor in tensors.items()}, facts


def read_tensors(
    path: Path, check: Check | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Args:
        path: of the file.
        check: looks at the header before any tensor is read.

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
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "elman" not in metadata:
                raise ElmanError(f"{path}: not written by Elman")
            facts = parse_json(metadata["elman"], path)
            if not isinstance(facts, dict):
                raise ElmanError(f"{path}: not written by Elman")
            names = list(file.keys())
            if check is not None:
                check({name: _spec(path, name, file.get_slice(name)) for name in names}, facts)
            return {name: file.get_tensor(name) for name in names}, facts
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ElmanError(f"{path}: damaged or truncated: {error}") from None


def _spec(path: Path, name: str, stored: Any) -> TensorSpec:
    kind = stored.get_dtype()
    if kind not in DTYPES:
        raise ElmanError(f"{path}: {name!r} is of {kind}, which Elman never writes")
    return TensorSpec(tuple(stored.get_shape()), DTYPES[kind])


def to_int8(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round float32 matrices to int8, with a scale for each row; leave all else as it is."""
    rounded: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and tensor.dtype == torch.float32:
            matrix = Rounded.of(tensor, "int8")
            assert matrix.scale is not None
            rounded |= {name: matrix.weight, name + INT8_SCALE: matrix.scale}
        else:
            rounded[name] = tensor
    return rounded


def from_int8(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the float32 matrices that `to_int8` stands for."""
    return {
        name: Rounded(tensor, tensors[name + INT8_SCALE]).restored()
        if name + INT8_SCALE in tensors
        else tensor
        for name, tensor in tensors.items()
        if not name.endswith(INT8_SCALE)
    }


def _restored(header: TensorHeader) -> dict[str, TensorSpec]:
    """Say of a header what `from_int8` makes of the tensors."""
    found = dict(header)
    for name, spec in header.items():
        scale = TensorSpec(spec.shape[:1], torch.float32)
        is_matrix = spec.dtype == torch.int8 and len(spec.shape) == 2
        if is_matrix and header.get(name + INT8_SCALE) == scale:
            found[name] = TensorSpec(spec.shape, torch.float32)
            del found[name + INT8_SCALE]
    return found


def check_header(
    path: Path, header: TensorHeader, expected: TensorHeader, of: str, int8: bool = False
) -> None:
    """Compare a header with what is expected.

    Args:
        path: of the file.
        header: what it says.
        expected: every tensor; where a float32 one is, fewer bits will do.
        of: what decides what is expected.
        int8: whether matrices may be as `to_int8` makes them.

    Raises:
        ElmanError: naming the first tensor that is missing, too many, or another.
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


def _fits(found: TensorSpec, expected: TensorSpec) -> bool:
    halves = (torch.float16, torch.bfloat16)
    same = found.dtype == expected.dtype
    return found.shape == expected.shape and (
        same or (expected.dtype == torch.float32 and found.dtype in halves)
    )


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ElmanError where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ElmanError(f"{path}: {name!r} holds numbers that are none (NaN or infinity)")
