"""The compiled library: found, checked, loaded and called by `ctypes`."""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CELL_NAMES = ("rnn", "relu", "gru", "lstm", "mingru", "minlstm")
"""The cells that the library knows; a cell's number there is its place in this list."""

WEIGHT_KINDS: dict[torch.dtype, int] = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
"""What a packed matrix may hold, and the library's number for it."""

BFLOAT16_PAIRS = 3
"""The number of bfloat16 weights that are multiplied in pairs, where the processor can: then the
other factor is rounded, too."""

KERNELS_VARIABLE = "ELMAN_KERNELS"
"""Environment variable: `reference` turns the library off, `avx2` takes that instruction set."""


def _structure(name: str, integers: str, pointers: str) -> type[ctypes.Structure]:
    """Make a C struct of loops.h: int64 first, then pointers, in that order; unset fields are 0."""
    fields = [
        *((field, ctypes.c_int64) for field in integers.split()),
        *((field, ctypes.c_void_p) for field in pointers.split()),
    ]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Forward = _structure(
    "Forward",
    "cell T B H threads kind kept_every",
    "gx kept packed scale bias_hh h_all h_first c_first keep scratch",
)
Backward = _structure(
    "Backward",
    "cell T B H threads kind",
    "gates kept packed h_all h_first c_first keep cut dh_all dgx dgh dh dc indirect",
)
Product = _structure("Product", "rows N K threads kind", "a packed scale bias out")
Softmax = _structure(
    "Softmax", "rows N threads kind gradient", "logits bias beside targets nats dbias scratch"
)
JOB_STRUCTURES = (Forward, Backward, Product, Softmax)


@dataclass(frozen=True)
class Native:
    """The library, bound to one instruction set.

    Args:
        isa: the instruction set, for example "avx512".
        parallel: whether it shares torch's OpenMP threads; else it runs on one thread.
    """

    isa: str
    parallel: bool
    _library: ctypes.CDLL

    def packed(self, weight: Tensor, units: int, gates: int, kind: int | None = None) -> Tensor:
        """Lay out a weight for the products of the loops.

        Args:
            weight: (gates * units, K), any strides.
            units, gates: how its rows are grouped.
            kind: BFLOAT16_PAIRS, or None: the kind of its dtype.
        """
        k = weight.shape[1]
        kind = WEIGHT_KINDS[weight.dtype] if kind is None else kind
        size = self._library.elman_packed_size(kind, units, gates, k)
        out = torch.empty(size, dtype=weight.dtype)
        self._library.elman_pack(
            _address("weight", weight), kind, *weight.stride(), units, gates, k,
            out.data_ptr(),
        )  # fmt: skip
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
        function = getattr(self._library, f"elman_{job.__name__.lower()}")
        function(ctypes.byref(job(**values)))


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


@cache
def load() -> tuple[Native | None, str]:
    """Load the library once; return it or None, and in words what runs the loops and why."""
    wanted = os.environ.get(KERNELS_VARIABLE, "")
    if wanted == "reference":
        return None, f"{KERNELS_VARIABLE}=reference is set"
    found = _find()
    if found is None:
        return None, "the kernels were not built: no C++ compiler was found at installation"
    try:
        library = ctypes.CDLL(str(found))
    except OSError as error:
        return None, f"{found} cannot be loaded: {error}"
    if not _fits(library):
        return None, f"{found} is of another version of Elman: install it again"
    _declare(library)
    sets: list[str] = []
    while name := library.elman_isa(len(sets)):
        sets.append(name.decode())
    if wanted and wanted not in sets:
        return (
            None,
            f"{KERNELS_VARIABLE}={wanted}, and this processor has {', '.join(sets) or 'none'}",
        )
    if not sets:
        return None, "this processor has none of AVX2, AVX-512 and NEON"
    isa = wanted or sets[0]
    library.elman_use(isa.encode())
    parallel = _share_threads(library)
    threads = "torch's OpenMP threads" if parallel else "one thread: torch has no GNU OpenMP here"
    return Native(isa, parallel, library), f"{isa} kernels, {threads}"


def _find() -> Path | None:
    # An editable installation has two folders: of the sources, and of what was built.
    folders = import_module(__package__).__path__
    places = [Path(folder) / "libelman.so" for folder in folders]
    return next((place for place in places if place.exists()), None)


def _fits(library: ctypes.CDLL) -> bool:
    """Tell whether the library's structs have our sizes: it would overwrite memory otherwise."""
    if not hasattr(library, "elman_struct_size"):
        return False
    library.elman_struct_size.restype = ctypes.c_int64
    sizes = [library.elman_struct_size(n) for n in range(len(JOB_STRUCTURES))]
    return sizes == [ctypes.sizeof(struct) for struct in JOB_STRUCTURES]


def _declare(library: ctypes.CDLL) -> None:
    integer, address = ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "elman_isa": (ctypes.c_char_p, [ctypes.c_int]),
        "elman_use": (ctypes.c_int, [ctypes.c_char_p]),
        "elman_set_threads": (None, [address] * 3),
        "elman_packed_size": (integer, [integer] * 4),
        "elman_pack": (None, [address, *[integer] * 6, address]),
        "elman_forward": (None, [ctypes.POINTER(Forward)]),
        "elman_backward": (None, [ctypes.POINTER(Backward)]),
        "elman_product": (None, [ctypes.POINTER(Product)]),
        "elman_softmax": (None, [ctypes.POINTER(Softmax)]),
    }
    for name, (result, arguments) in signatures.items():
        function: Callable[..., Any] = getattr(library, name)
        function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]


def _share_threads(library: ctypes.CDLL) -> bool:
    """Give the library torch's own OpenMP threads, since a second pool would fight them.

    Returns:
        Whether torch has a GNU OpenMP to give.
    """
    process = ctypes.CDLL(None)  # torch loads its OpenMP for the whole process
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    if not all(hasattr(process, name) for name in names):
        return False
    addresses = [ctypes.cast(getattr(process, name), ctypes.c_void_p) for name in names]
    library.elman_set_threads(*addresses)
    return True
