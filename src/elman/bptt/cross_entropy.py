"""Cross-entropy over a large vocabulary, without all of its logits at once."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt.kernels.native import WEIGHT_KINDS, Native, in_memory, load
from elman.bptt.precision import is_mixed, of_products
from elman.bptt.transforms import as_it_is, is_compiled, needs_operators
from elman.native.library import Softmax as SoftmaxJob

MAX_LOGITS_BYTES = 16 * 2**20
"""Bytes of the logits that exist at a time: so many fit into a large cache, and the products that
make them are already fast."""


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    beside: Tensor | None = None,
    reduction: Literal["sum", "mean"] = "sum",
    chunk: int | None = None,
) -> Tensor:
    """Compute -log softmax(weight hidden + bias) at the targets, in nats.

    It equals `F.cross_entropy(F.linear(hidden, weight, bias), targets)`, and so do its gradients,
    exact to rounding. The logits of a chunk of tokens turn into their own gradient at once and in
    place: they are neither kept for the backward pass nor made twice. Only the gradients are kept.
    Under autocast, the products are in its precision and all else in the weight's.

    Args:
        hidden: (N, H), without the tokens that the loss leaves out.
        weight: (V, H), float32 or float64.
        targets: ids from 0 to V - 1, (N,) int64.
        bias: (V,).
        beside: log q of each target under another model, (N,), differentiated too. The loss is then
            -log(p + q), as a mixture of models needs it: with weights g and 1 - g, q is the other
            model's probability times (1 - g) / g, and -log g is to be added.
        reduction: "sum" over the tokens, or their "mean" (nan where there are none).
        chunk: tokens at a time; None: as many as have logits of `MAX_LOGITS_BYTES`.

    Returns:
        A scalar, differentiable once.

    Raises:
        ValueError: where a shape, a dtype, `reduction` or `chunk` does not fit.
        IndexError: where a target is not in the vocabulary.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
    nats, _ = _sum_and_each(hidden, weight, targets, bias, beside, chunk)
    return nats if reduction == "sum" else nats / len(targets)


def cross_entropy_of_each(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor, beside: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `linear_cross_entropy`, and the loss of each token without its gradient, (N,)."""
    return _sum_and_each(hidden, weight, targets, bias, beside, None)


def _sum_and_each(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    chunk: int | None,
) -> tuple[Tensor, Tensor]:
    if is_compiled():
        return as_it_is(_sum_and_each)(hidden, weight, targets, bias, beside, chunk)
    low = of_products(weight.device, weight.dtype)
    floats = {weight.dtype, low}
    if is_mixed(weight.device) and weight.dtype != torch.float64:
        floats.add(torch.get_autocast_dtype(weight.device.type))
    _check(hidden, weight, targets, bias, beside, floats)
    if needs_operators(hidden, weight):
        return _of_operators(hidden, weight, targets, bias, beside, low)
    _check_targets(targets, len(weight))
    if chunk is None:
        chunk = max(1, MAX_LOGITS_BYTES // (len(weight) * weight.element_size()))
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    found: tuple[Tensor, Tensor] = _Chunked.apply(
        hidden, weight, bias, beside, targets, chunk, low, torch.is_grad_enabled()
    )
    return found


def _check(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    floats: set[torch.dtype],
) -> None:
    if weight.dim() != 2 or 0 in weight.shape:
        raise ValueError(f"weight must be (V, H), neither of them 0, got {(*weight.shape,)}")
    vocabulary, size = weight.shape
    for name, tensor, shape, dtypes in (
        ("weight", weight, (vocabulary, size), {torch.float32, torch.float64}),
        ("hidden", hidden, (*hidden.shape[:1], size), floats),
        ("targets", targets, (*hidden.shape[:1],), {torch.int64}),
        ("bias", bias, (vocabulary,), {weight.dtype}),
        ("beside", beside, (*hidden.shape[:1],), {weight.dtype}),
    ):
        if tensor is not None and (tensor.shape != shape or tensor.dtype not in dtypes):
            expected = f"{shape} of {' or '.join(sorted(map(str, dtypes)))}"
            raise ValueError(f"{name} must be {expected}, got {(*tensor.shape,)} of {tensor.dtype}")


def _check_targets(targets: Tensor, vocabulary: int) -> None:
    if len(outside := targets[(targets < 0) | (targets >= vocabulary)]):
        raise IndexError(f"targets must be from 0 to {vocabulary - 1}, got {int(outside[0])}")


def _of_operators(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    low: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Compute it from all logits at once, for tracers and transforms; differentiable at will.

    A target outside the vocabulary is found by `gather`, where something is computed.
    """
    logits = F.linear(hidden.to(low), weight.to(low)).to(weight.dtype)
    if bias is not None:
        logits = logits + bias
    log_p = logits.log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1)
    each = -(log_p if beside is None else torch.logaddexp(log_p, beside))
    return each.sum(), each.detach()


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        beside: Tensor | None,
        targets: Tensor,
        chunk: int,
        low: torch.dtype,
        differentiable: bool,
    ) -> tuple[Tensor, Tensor]:
        needed = [differentiable and of_input for of_input in ctx.needs_input_grad]
        dhidden = torch.zeros_like(hidden) if needed[0] else None
        dweight = torch.zeros_like(weight) if needed[1] else None
        dbias = torch.zeros_like(bias) if needed[2] and bias is not None else None
        dbeside = torch.empty_like(beside) if needed[3] and beside is not None else None
        compiled = weight.is_cpu and weight.dtype == torch.float32 and low in WEIGHT_KINDS
        native = load()[0] if compiled else None
        softmax = _plain_softmax if native is None else partial(_compiled_softmax, native)
        low_hidden, low_weight = hidden.to(low), weight.to(low)
        nats, every = weight.new_zeros(()), weight.new_empty(len(hidden))
        for begin in range(0, len(hidden), chunk):
            span = slice(begin, begin + chunk)
            h = low_hidden[span]
            log_q = None if beside is None else beside[span]
            costs, dlogits = softmax(
                h, low_weight, bias, log_q, targets[span], any(needed[:3]), dbias
            )
            nats += costs.sum(dtype=torch.float64).to(nats.dtype)
            every[span] = costs
            if dbeside is not None and log_q is not None:
                dbeside[span] = -(log_q + costs).exp()  # the share of q in p + q
            if dhidden is not None:
                dhidden[span] = dlogits @ low_weight
            if dweight is not None:
                _add_product(dweight, dlogits.t(), h)
        ctx.save_for_backward(dhidden, dweight, dbias, dbeside)
        ctx.mark_non_differentiable(every)
        return nats, every

    @staticmethod
    def backward(ctx: Any, dnats: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        # torch's once_differentiable would let a second gradient pass as zero where dnats is fixed.
        if torch.is_grad_enabled():
            raise RuntimeError("linear_cross_entropy is differentiable once: no create_graph=True")
        # Not in place: where the graph is retained, there may be another backward pass.
        grads = [None if grad is None else grad * dnats for grad in ctx.saved_tensors]
        return (*grads, None, None, None, None)


def _plain_softmax(
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    targets: Tensor,
    differentiable: bool,
    dbias: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute losses and gradients of some rows by torch: the specification of the compiled one.

    Args:
        h: (rows, H), in the precision of the products.
        weight: (V, H), the same.
        bias: (V,) or None.
        beside: log q, (rows,), or None.
        targets: (rows,).
        differentiable: whether the logits' gradient is wanted.
        dbias: (V,); the gradient's sum over the rows is added to it. None: not wanted.

    Returns:
        -log(p + q) of each row, and the logits' gradient, (rows, V); the latter has no meaning
        where it is not wanted.
    """
    product, target = h @ weight.t(), targets.unsqueeze(1)
    logits = product if bias is None else product.to(bias.dtype).add_(bias)
    if logits.dtype != torch.float64:
        logits = logits.float()
    logits -= logits.amax(1, keepdim=True)
    of_target = logits.gather(1, target)
    total = logits.exp_().sum(1, keepdim=True)
    nats = total.log() - of_target
    if beside is not None:
        alone, nats = nats, -torch.logaddexp(-nats, beside.unsqueeze(1))
    if differentiable:
        # The logits' gradient: their softmax, less one at the target.
        logits.div_(total).scatter_add_(1, target, -torch.ones_like(total))
        if beside is not None:
            logits *= (nats - alone).exp()  # the share of p in p + q
        if dbias is not None:
            dbias += logits.sum(0)
    return nats.squeeze(1), logits.to(h.dtype)


def _compiled_softmax(
    native: Native,
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    targets: Tensor,
    differentiable: bool,
    dbias: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute what `_plain_softmax` does; each logit is read once, its gradient written once."""
    logits = h @ weight.t()
    rows, threads = len(h), min(torch.get_num_threads(), len(h))
    nats = torch.empty(rows)
    sums = None if dbias is None else torch.zeros(threads, len(weight))
    native.run(
        SoftmaxJob,
        rows=rows,
        N=len(weight),
        threads=threads,
        kind=WEIGHT_KINDS[logits.dtype],
        gradient=int(differentiable),
        logits=logits,
        bias=None if bias is None else in_memory(bias.detach()),
        beside=None if beside is None else in_memory(beside.detach()),
        targets=targets.contiguous(),
        nats=nats,
        dbias=sums,
        scratch=torch.empty(threads, len(weight)),
    )
    if dbias is not None and sums is not None:
        dbias += sums.sum(0)
    return nats, logits


def _add_product(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add a b to out; only the product is in the precision of a and b."""
    return out.addmm_(a, b) if a.dtype == out.dtype else out.add_(a @ b)
