"""Tells when tracers, exporters, compilers or torch's function transforms watch what runs.

They see torch's operators, and not what a compiled library does with a pointer. While one of them
is at work, recurrences are made of plain operators: `operators.py`.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

P = ParamSpec("P")
R = TypeVar("R")

# Bound to names, since every call of a layer asks.
_is_compiling = torch.compiler.is_compiling
_has_storage = torch._C._has_storage
_level_of_transforms = torch._C._functorch.peek_interpreter_stack
_tracing = torch._C._get_tracing_state
_modes = torch._C._len_torch_dispatch_stack
_includes = torch._C._dispatch_tls_is_dispatch_key_included
_no_torch_dispatch = torch._C._disabled_torch_dispatch_impl
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


def is_recorded() -> bool:
    """Tell whether what runs now becomes a program: by tracing, exporting, or on fake tensors."""
    return (
        _is_compiling()
        or _tracing() is not None
        or _includes(_PRE_DISPATCH)
        or (_modes() > 0 and any(m.is_infra_mode() for m in _get_current_dispatch_mode_stack()))
    )


def is_transformed() -> bool:
    """Tell whether a transform of `torch.func`, or forward-mode differentiation, is at work."""
    return _level_of_transforms() is not None or forward_ad._current_level >= 0


def needs_operators(*tensors: Tensor) -> bool:
    """Tell whether something must see every operator that is applied to these tensors."""
    return is_recorded() or is_transformed() or not all(map(_has_memory, tensors))


def _has_memory(tensor: Tensor) -> bool:
    """Tell whether a tensor is no more and no less than its numbers in memory."""
    kind = type(tensor)
    plain = kind is Tensor or kind is nn.Parameter or kind.__torch_dispatch__ is _no_torch_dispatch
    return plain and not tensor.is_meta and _has_storage(tensor)


def is_compiled() -> bool:
    """Tell whether `torch.compile` looks at what runs now, and not for an export."""
    return _is_compiling() and not torch.compiler.is_exporting()


def as_it_is(function: Callable[P, R]) -> Callable[P, R]:
    """Hide a function from `torch.compile`, which then runs it between two graphs.

    `fullgraph=True` fails with the message given here.
    """
    torch._dynamo.graph_break(
        msg="Elman's recurrences are compiled already and no part of a graph: leave out fullgraph"
    )
    hidden: Callable[P, R] = torch.compiler.disable(function)
    return hidden


def unrecorded(function: Callable[P, R]) -> Callable[P, R]:
    """Hide a function from `torch.compile` while a program is recorded.

    Raises:
        RuntimeError: where something else records: it would keep this call's result for ever.
    """
    if is_compiled():
        return as_it_is(function)
    raise RuntimeError(
        "packed weights cannot be traced or exported: trace or export the layer that they were "
        "packed from"
    )
