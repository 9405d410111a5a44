"""What each message gives each weight's gradient."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.lens.chain import along_output
from elman.lens.lens import summed
from elman.lens.tracing import Call, TracingUnfold, share, trace_calls
from elman.model.blocks import RecurrentBlock, RecurrentStack, SlowLinear
from elman.model.chatbot import Chatbot

Rows = tuple[Tensor, Tensor | None, Tensor]
"""Of one use of a weight: the gradient of what it made, (R, G), what it was applied to, (R, K), or
None for a bias, and the message that each row belongs to, (R,).
"""


class LinearCall:
    """One call of a linear map: what it read, and the gradient of what it made once it is known."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.gradient: Tensor | None = None

    def take(self, gradient: Tensor) -> None:
        self.gradient = gradient


class WeightUses:
    """Keeps what every weight of a chatbot is applied to, and the gradient of what it makes.

    Args:
        chatbot: `frozen`, so that its graphs begin at the embeddings.
    """

    def __init__(self, chatbot: Chatbot) -> None:
        self._chatbot = chatbot
        self._handles: list[Any] = []
        self._blocks: dict[str, list[TracingUnfold]] = defaultdict(list)
        self._linear: dict[str, list[LinearCall]] = defaultdict(list)
        self._embedded: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def __enter__(self) -> "WeightUses":
        for name, module in self._chatbot.named_modules():
            if isinstance(module, RecurrentBlock):
                self._handles.append(trace_calls(module, self._blocks[name].append))
            elif isinstance(module, nn.Linear):
                self._handles.append(module.register_forward_hook(self._map(name)))
            elif isinstance(module, nn.Embedding):
                self._handles.append(module.register_forward_hook(self._lookup(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _map(self, name: str) -> Any:
        def watch(module: nn.Module, args: Any, output: Tensor) -> None:
            if output.requires_grad:
                x = args[0].detach()
                call = LinearCall(x / x.shape[-1] if isinstance(module, SlowLinear) else x)
                self._linear[name].append(call)
                output.register_hook(call.take)

        return watch

    def _lookup(self, name: str) -> Any:
        def watch(_: nn.Module, args: Any, output: Tensor) -> None:
            # Its weight wants no gradient, so what it gives is a leaf, and keeps its own.
            self._embedded[name].append((args[0], output.requires_grad_()))

        return watch

    def layers(self, stack: RecurrentStack) -> list[Call]:
        """Return the first run of each layer of a stack, the lowest first."""
        names: dict[nn.Module, str] = {
            module: name for name, module in self._chatbot.named_modules()
        }
        return [self._blocks[names[block]][0].calls[0] for block in stack.blocks]

    def rows(self, owners: Mapping[str, Sequence[Tensor]]) -> Iterator[tuple[str, Rows]]:
        """List every use of every weight but those of embeddings and of a pointer, by its name.

        Args:
            owners: as `Unrolled` has them.
        """
        for name, runs in self._blocks.items():
            for traced, owner in zip(runs, owners[_part(name)], strict=True):
                for weight, made, of in traced.calls[0].products():
                    yield f"{_shown(name)}.{weight}", _rows(made, of, owner)
        for name, calls in self._linear.items():
            if _part(name) == "pointer":
                continue
            for call, owner in zip(calls, owners[_part(name)], strict=True):
                if call.gradient is not None:
                    yield from self._of_map(name, _shown(name), call.gradient, call.x, owner)

    def pointer_rows(self, ends: Sequence[int], owner: Tensor) -> Iterator[tuple[str, Rows]]:
        """List every use of a pointer's weights.

        Args:
            ends: the step before which each span ended. What keys are made of has a row for each
                step of the span's record, all else for each query.
            owner: of each step, (N,).
        """
        for name, calls in self._linear.items():
            if _part(name) == "pointer":
                for call, end in zip(calls, ends, strict=True):
                    if call.gradient is not None:
                        own = owner[end - len(call.x) : end]
                        shown = f"{name}.weight"
                        yield from self._of_map(name, shown, call.gradient, call.x, own)

    def _of_map(
        self, name: str, shown: str, made: Tensor, x: Tensor, owner: Tensor
    ) -> Iterator[tuple[str, Rows]]:
        yield shown, _rows(made, x, owner)
        if self._chatbot.get_submodule(name).bias is not None:
            yield f"{name}.bias", _rows(made, None, owner)

    def embedded(
        self, owners: Mapping[str, Sequence[Tensor]]
    ) -> Iterator[tuple[str, list[tuple[Tensor, Tensor, Tensor]]]]:
        """For each embedding its uses: ids, the gradients of their vectors, and owners, by row."""
        for name, calls in self._embedded.items():
            yield (
                name,
                [
                    (ids.flatten(), _gradient(made).flatten(0, -2), owner.flatten())
                    for (ids, made), owner in zip(calls, owners[_part(name)], strict=True)
                ],
            )


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _part(name: str) -> str:
    """Name the part of the network that a module is in."""
    return name.partition(".")[0]


def _shown(name: str) -> str:
    """Name a module."""
    return name.replace(".layers.", ".")


def _rows(made: Tensor, of: Tensor | None, owner: Tensor) -> Rows:
    return made.flatten(0, -2), None if of is None else of.flatten(0, -2), owner.flatten()


class Output(NamedTuple):
    """Uses of the output layer's weight.

    Args:
        hidden: what logits were made of, (K, H).
        targets: what was to be said, (K,).
        owner: of each, (K,).
        vocabulary_share: of each target's probability, the part that is not copied; None: all.
        gradient: of the weight, by all of them, (V, H).
    """

    hidden: Tensor
    targets: Tensor
    owner: Tensor
    vocabulary_share: Tensor | None
    gradient: Tensor


class Shares:
    """What each message gives each weight's gradient.

    Args:
        count: of messages.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.shares: dict[str, Tensor] = {}
        self.norms: dict[str, float] = {}

    def add(self, uses: Iterable[tuple[str, Rows]]) -> None:
        """Add weights that are applied to rows."""
        found: dict[str, list[Rows]] = defaultdict(list)
        for name, rows in uses:
            found[name].append(rows)
        for name, every in found.items():
            made = torch.cat([rows[0] for rows in every])
            applied = [rows[1] for rows in every if rows[1] is not None]
            of = torch.cat(applied) if applied else None
            gradient = summed(made, of)
            self.norms[name] = float(gradient.norm())
            owner = torch.cat([rows[2] for rows in every])
            self.shares[name] = share(gradient, made, of, owner, self.count)

    def add_output(
        self,
        chatbot: Chatbot,
        embedded: Iterable[tuple[str, list[tuple[Tensor, Tensor, Tensor]]]],
        output: Output,
    ) -> None:
        """Add the embeddings and the output layer, which may be one and the same weight.

        Args:
            chatbot: whose they are.
            embedded: as `WeightUses.embedded` gives it.
            output: the uses of the output layer's.
        """
        names = {id(weight): name for name, weight in chatbot.named_parameters()}
        tied = names[id(chatbot.output_layer[0])].removesuffix(".weight")
        reads = dict(embedded)
        for name in {**reads, tied: []}:
            said = output if name == tied else None
            self._add_lookups(chatbot, name, reads.get(name, []), said)

    def _add_lookups(
        self,
        chatbot: Chatbot,
        name: str,
        reads: Sequence[tuple[Tensor, Tensor, Tensor]],
        output: Output | None,
    ) -> None:
        if output is None:
            gradient = torch.zeros_like(chatbot.get_parameter(f"{name}.weight"))
        else:
            gradient = output.gradient
        for ids, made, _ in reads:
            gradient = gradient.index_add(0, ids, made)
        total = torch.zeros(self.count + 1, dtype=torch.float64)
        for ids, made, owner in reads:
            total.index_add_(0, owner, (made * gradient[ids]).sum(1).double())
        if output is not None:
            along = along_output(chatbot, output.hidden, output.targets, gradient)
            along = along if output.vocabulary_share is None else along * output.vocabulary_share
            total.index_add_(0, output.owner, along.double())
        square = float(gradient.double().square().sum())
        self.norms[name] = square**0.5
        self.shares[name] = total[:-1] / square if square else total[:-1]
