"""Tensors in the files of array_files.py."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from elman.bptt.decode import Rounded
from elman.data.files import write_file
from elman.errors import ElmanError
from elman.model.array_files import (
    CHECKSUM,
    FACTS_KEY,
    ArraySpec,
    Check,
    not_finite,
    opened,
    packed_facts,
)
from elman.model.folder import INT8_SCALE


def spec_of(tensor: Tensor) -> ArraySpec:
    """Return what a header says of a tensor."""
    return ArraySpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file, with a checksum.

    A link is replaced, not followed.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    # Among the facts: two entries of a header would come in any order, and other bytes each time.
    facts = {**metadata, CHECKSUM: digest(contiguous, json.dumps(metadata))}
    write_file(path, save(contiguous, packed_facts(facts)), follow_link=False)


def read_tensors(
    path: Path, check: Check | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, and verify its checksum; earlier versions wrote none.

    Args:
        path: of the file.
        check: looks at the header before any tensor is read.

    Raises:
        ElmanError: where the file is missing, damaged, truncated or not Elman's.
    """
    with opened(path, "pt", check) as (file, facts):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        written = json.loads(file.metadata()[FACTS_KEY])  # the check may have renamed some
        checksum = written.pop(CHECKSUM, None)
        if checksum not in (None, digest(tensors, json.dumps(written))):
            raise ElmanError(f"{path}: damaged: its checksum does not fit what it holds")
        facts.pop(CHECKSUM, None)
        return tensors, facts


def digest(tensors: Mapping[str, Tensor], facts: str = "") -> str:
    """Digest tensors by their names, kinds, shapes and bytes, and what is said beside them."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # A scalar cannot be viewed as bytes, nor can one number or none, whose stride is anything.
        flat = tensor.detach().contiguous().as_strided((tensor.numel(),), (1,))
        whole.update(flat.view(torch.uint8).numpy().tobytes())
    whole.update(facts.encode())
    return whole.hexdigest()


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


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ElmanError where a number is NaN or infinite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise not_finite(path, name)
