"""The compiled library over torch's tensors, and over the threads that torch has."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from elman.native import library
from elman.native.library import BFLOAT16, FLOAT32, INT8, Library

WEIGHT_KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.int8: INT8}
"""What a packed matrix may hold, and the library's number for it."""


@dataclass(frozen=True)
class Native:
    """The library for tensors.

    Args:
        library: bound to one instruction set.
        parallel: whether it shares torch's OpenMP threads; else it runs on one thread.
    """

    library: Library
    parallel: bool

    def packed(self, weight: Tensor, units: int, gates: int, kind: int | None = None) -> Tensor:
        """Lay out a weight for the products of the loops.

        Args:
            weight: (gates * units, K), any strides.
            units, gates: how its rows are grouped.
            kind: BFLOAT16_PAIRS, or None: the kind of its dtype.
        """
        k = weight.shape[1]
        kind = WEIGHT_KINDS[weight.dtype] if kind is None else kind
        out = torch.empty(self.library.packed_size(kind, units, gates, k), dtype=weight.dtype)
        self.library.pack(
            _address("weight", weight), kind, weight.stride(), units, gates, k, out.data_ptr()
        )
        return out

    def run(self, job: type[ctypes.Structure], /, **fields: int | Tensor | None) -> None:
        """Run the job that one of JOB_STRUCTURES describes.

        Args:
            job: which.
            fields: its values by name. Tensors must be contiguous; None is a null pointer.

        Raises:
            TypeError: where a size is no int, or a pointer would be one.
            RuntimeError: where a tensor is not in the CPU's memory.
        """
        pointers = _pointers(job)
        values: dict[str, int | None] = {}
        for name, value in fields.items():
            if name not in pointers and type(value) is int:
                values[name] = value
            elif name in pointers and isinstance(value, Tensor):
                assert value.is_contiguous()
                values[name] = _address(name, value)
            elif value is not None or name not in pointers:
                wanted = "a tensor" if name in pointers else "an int"
                raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}")
        self.library.run(job(**values))


@cache
def _pointers(job: type[ctypes.Structure]) -> frozenset[str]:
    return frozenset(field[0] for field in job._fields_ if field[1] is ctypes.c_void_p)


def _address(name: str, tensor: Tensor) -> int:
    """Return the address of a tensor's numbers; raise RuntimeError where it has none on the CPU."""
    try:
        address = tensor.data_ptr()
    except RuntimeError:  # torch's wrappers of fake and transformed tensors have none
        address = 0
    if (address or tensor.numel() == 0) and tensor.is_cpu:
        return address
    raise RuntimeError(
        f"Elman's compiled library needs {name} in the memory of the CPU, got a tensor that is "
        "fake, wrapped by a transform or on another device"
    )


def in_memory(tensor: Tensor) -> Tensor:
    """Return a tensor with its numbers one after the other, and negated if torch put that off."""
    return tensor.resolve_neg().contiguous()


def load() -> tuple[Native | None, str]:
    """Load the library once; return it or None, and in words what runs the loops and why."""
    return _over_threads(*library.load())


@cache
def _over_threads(found: Library | None, why: str) -> tuple[Native | None, str]:
    if found is None:
        return None, why
    parallel = _share_threads(found)
    threads = "torch's OpenMP threads" if parallel else "one thread: torch has no GNU OpenMP here"
    return Native(found, parallel), f"{why}, {threads}"


def _share_threads(found: Library) -> bool:
    """Give the library torch's own OpenMP threads, since a second pool would fight them.

    Returns:
        Whether torch has a GNU OpenMP to give.
    """
    if sys.platform == "win32":
        return False
    process = ctypes.CDLL(None)  # torch loads its OpenMP for the whole process
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    if not all(hasattr(process, name) for name in names):
        return False
    addresses = [ctypes.cast(getattr(process, name), ctypes.c_void_p) for name in names]
    found.functions.elman_set_threads(*addresses)
    return True
