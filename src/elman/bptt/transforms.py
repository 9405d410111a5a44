"""Who else must see what runs: tracers, exporters, compilers, and torch's function transforms.

They see torch's operators, not what a compiled library does with a pointer. While one of them is at
work, recurrences are made of plain operators: `operators.py`.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

P = ParamSpec("P")
R = TypeVar("R")

NOT_COMPILED = (
    "Elman's recurrences are compiled already: torch.compile leaves them as they are, which "
    "fullgraph=True forbids"
)


def is_recorded() -> bool:
    """Whether what runs now becomes a program: under tracing, exporting, or on fake tensors."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch)
        or (
            torch._C._len_torch_dispatch_stack() > 0
            and any(mode.is_infra_mode() for mode in _get_current_dispatch_mode_stack())
        )
    )


def is_transformed() -> bool:
    """Whether a transform of `torch.func`, or forward-mode differentiation, is at work."""
    return (
        torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    )


def needs_operators(*tensors: Tensor | None) -> bool:
    """Whether something must see every operator that is applied to these tensors."""
    return is_transformed() or is_recorded() or not all(map(_has_memory, tensors))


def _has_memory(tensor: Tensor | None) -> bool:
    """Whether a tensor is no more and no less than its numbers in memory."""
    return tensor is None or (
        (type(tensor) is Tensor or type(tensor) is nn.Parameter or _is_plain_subclass(tensor))
        and not tensor.is_meta
        and torch._C._has_storage(tensor)
    )


def _is_plain_subclass(tensor: Tensor) -> bool:
    return type(tensor).__torch_dispatch__ is torch._C._disabled_torch_dispatch_impl


def not_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Have `torch.compile` call a function as it is; `torch.export` still looks into it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            eager: Callable[P, R] = torch.compiler.disable(function, reason=NOT_COMPILED)
            return eager(*args, **kwargs)
        return function(*args, **kwargs)

    return call
