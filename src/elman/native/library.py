"""The compiled library: found, checked, loaded and called by `ctypes`."""

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

CELL_NAMES = ("rnn", "relu", "gru", "lstm", "mingru", "minlstm")
"""The cells that the library knows; a cell's number there is its place in this list."""

FLOAT32, BFLOAT16, INT8, BFLOAT16_PAIRS, INT8_QUADS = range(5)
"""The library's numbers for what a packed matrix may hold. Weights in pairs, or in fours, are
multiplied so where the processor can; then the other factor is rounded, too.
"""

KERNELS_VARIABLE = "ELMAN_KERNELS"
"""Environment variable: `reference` turns the library off, `avx2` takes that instruction set."""


def _structure(name: str, integers: str, pointers: str) -> type[ctypes.Structure]:
    """Make a C struct of loops.h or bot.h: int64 first, then pointers; unset fields are 0."""
    fields = [
        *((field, ctypes.c_int64) for field in integers.split()),
        *((field, ctypes.c_void_p) for field in pointers.split()),
    ]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Forward = _structure(
    "Forward",
    "cell T B H threads kind kept_every narrow descending",
    "gx kept packed scale bias_ih bias_hh h_all h_first c_first keep scratch",
)
Backward = _structure(
    "Backward",
    "cell T B H threads kind narrow",
    "gates kept packed h_all h_first c_first keep cut dh_all dgx dgh dh dc indirect",
)
Product = _structure("Product", "rows N K threads kind", "a packed scale bias out")
Softmax = _structure(
    "Softmax", "rows N threads kind gradient", "logits bias beside targets nats dbias scratch"
)
ReadStruct = _structure("Read", "rows wanted", "bot tokens begins state logits nats")
DrawStruct = _structure("Draw", "rows V", "logits temperature top_p min_p points tokens")
JOB_STRUCTURES = (Forward, Backward, Product, Softmax, ReadStruct, DrawStruct)

BotStruct = _structure(
    "Bot",
    "V H pointer key orders longest",
    "embedding output recorded looking tell gate context stack encoder decoder tables alone "
    "embedding_int8 embedding_scale",
)
MatrixStruct = _structure("Matrix", "N K kind", "packed scale bias")
LayerStruct = _structure(
    "Layer",
    "cell states",
    "norm_weight norm_bias ih hh mlp_norm_weight mlp_norm_bias up down",
)
StackStruct = _structure("Stack", "count", "layers norm_weight norm_bias")
TableStruct = _structure("Table", "size", "contexts begins totals left words counts")
STRUCTURES = (*JOB_STRUCTURES, BotStruct, MatrixStruct, LayerStruct, StackStruct, TableStruct)


@dataclass(frozen=True)
class Library:
    """The library, bound to one instruction set.

    Args:
        isa: the instruction set, for example "avx512".
        sets: all that this processor has, the fastest first.
        functions: the C functions.
    """

    isa: str
    sets: tuple[str, ...]
    functions: ctypes.CDLL

    def packed_size(self, kind: int, units: int, gates: int, columns: int) -> int:
        """Return how many numbers a packed matrix of (gates * units, columns) has."""
        size: int = self.functions.elman_packed_size(kind, units, gates, columns)
        return size

    def pack(
        self, weight: int, kind: int, strides: Sequence[int], units: int, gates: int, columns: int,
        packed: int,
    ) -> None:  # fmt: skip
        """Lay out a matrix for the products of the loops.

        Args:
            weight: the address of (gates * units, columns) numbers.
            kind: of the numbers, FLOAT32 to INT8_QUADS.
            strides: how many numbers lie between two rows, and between two columns.
            units, gates: how the rows are grouped.
            columns: how many there are.
            packed: the address that `packed_size` numbers are written to.
        """
        self.functions.elman_pack(weight, kind, *strides, units, gates, columns, packed)

    def run(self, job: ctypes.Structure) -> None:
        """Run what one of JOB_STRUCTURES describes; other threads of Python go on meanwhile.

        Raises:
            MemoryError: where there is too little.
        """
        done = getattr(self.functions, f"elman_{type(job).__name__.lower()}")(ctypes.byref(job))
        if done == 0:
            raise MemoryError("too little memory to talk with this bot")


@cache
def load() -> tuple[Library | None, str]:
    """Load the library once; return it or None, and in words which instruction set or why none."""
    wanted = os.environ.get(KERNELS_VARIABLE, "")
    if wanted == "reference":
        return None, f"{KERNELS_VARIABLE}=reference is set"
    found = library_file()
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
    return Library(isa, tuple(sets), library), f"{isa} kernels"


def library_file() -> Path | None:
    """Find the library that was built when Elman was installed."""
    # An editable installation has two folders: of the sources, and of what was built.
    folders = import_module(__package__).__path__
    places = [Path(folder) / "libelman.so" for folder in folders]
    return next((place for place in places if place.exists()), None)


def _fits(library: ctypes.CDLL) -> bool:
    """Tell whether the library's structs have our sizes: it would overwrite memory otherwise."""
    if not hasattr(library, "elman_struct_size"):
        return False
    library.elman_struct_size.restype = ctypes.c_int64
    sizes = [library.elman_struct_size(n) for n in range(len(STRUCTURES))]
    return sizes == [ctypes.sizeof(struct) for struct in STRUCTURES]


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
        "elman_read": (ctypes.c_int, [ctypes.POINTER(ReadStruct)]),
        "elman_draw": (ctypes.c_int, [ctypes.POINTER(DrawStruct)]),
    }
    for name, (result, arguments) in signatures.items():
        function: Callable[..., Any] = getattr(library, name)
        function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]
