"""The actual backward pass over a whole conversation, and what each message gives each weight."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State
from elman.lens.chain import (
    Chain,
    Pulls,
    along_output,
    at_own_steps,
    carried,
    flat,
    frozen,
    pulls,
)
from elman.lens.lens import summed
from elman.lens.pointing import Parts, PointedConversation
from elman.lens.units import Units, gates_of, states_before, units
from elman.lens.watched import Call, Watched, share
from elman.model.blocks import RecurrentBlock, RecurrentStack
from elman.model.chatbot import Chatbot
from elman.model.messages import MessagesChatbot
from elman.model.packing import pack
from elman.model.tokens import TokensChatbot


@dataclass(frozen=True)
class Whole:
    """One conversation of M messages, differentiated from its last loss to its first step.

    The loss is the sum of -log p in nats over the tokens that count.

    Args:
        chain: the steps that carry its state.
        layers: what the layers of the chain are called.
        nats: of each message, (M,) float64; 0 where it does not count.
        token_nats: of each message's tokens, its role first; 0 where one does not count.
        state: h after each message, (M, layers, H).
        gradient: dLoss/dh after each message, (M, layers, H).
        steps: dLoss/dh of every step of the chain, (layers, N, H).
        recorded: norm of what comes back through a pointer's record at each message's steps, (M,);
            None where there is no pointer.
        shares: of each weight's gradient, by message, (M,); each sums to 1.
        norms: of each weight's gradient.
        units: of the chain's layers.
    """

    chain: Chain
    layers: list[str]
    nats: Tensor
    token_nats: list[Tensor]
    state: Tensor
    gradient: Tensor
    steps: Tensor
    recorded: Tensor | None
    shares: dict[str, Tensor]
    norms: dict[str, float]
    units: list[Units]


def differentiate(
    chatbot: Chatbot,
    messages: Sequence[np.ndarray],
    counted: Sequence[bool],
    start: State | None = None,
) -> Whole:
    """One forward and one backward pass over a conversation.

    Args:
        chatbot: either memory.
        messages: at least two, each from its role to its END.
        counted: whose text and END count in the loss.
        start: the chatbot's state before them; None: nothing was said before.
    """
    start = chatbot.initial_state(1) if start is None else start
    with frozen(chatbot), _Watch(chatbot) as watch:
        if isinstance(chatbot, TokensChatbot):
            return _tokens(chatbot, messages, counted, start, watch)
        assert isinstance(chatbot, MessagesChatbot)
        return _messages(chatbot, messages, counted, start, watch)


class _Watch:
    """Keeps what every linear map of a chatbot was applied to, and the gradient of what it made."""

    def __init__(self, chatbot: Chatbot) -> None:
        self.calls: dict[str, list[Call]] = {}
        self.read: list[Tensor] = []
        self._linear: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._chatbot = chatbot
        self._handles: list[Any] = []
        self._watched: list[tuple[str, Watched]] = []

    def __enter__(self) -> "_Watch":
        for name, module in self._chatbot.named_modules():
            if isinstance(module, RecurrentBlock):
                hook = self._block(name, inspect.signature(module.forward))
                self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            elif isinstance(module, nn.Linear):
                self._handles.append(module.register_forward_hook(self._map(name)))
            elif isinstance(module, nn.Embedding):
                self._handles.append(module.register_forward_hook(self._embedding))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _block(self, name: str, signature: inspect.Signature) -> Any:
        def watch(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            if not torch.is_grad_enabled():
                return args, kwargs
            bound = signature.bind(*args, **kwargs)
            bound.arguments["unfold"] = watched = Watched(bound.arguments.get("unfold"))
            self._watched.append((name, watched))
            return bound.args, bound.kwargs

        return watch

    def _map(self, name: str) -> Any:
        def watch(_: nn.Module, args: Any, output: Tensor) -> None:
            if output.requires_grad:
                x = args[0].detach()
                kept = self._linear.setdefault(name, [])
                output.register_hook(lambda gradient: kept.append((gradient, x)))

        return watch

    def _embedding(self, _: nn.Module, __: Any, output: Tensor) -> None:
        # The first of the graph, since no weight wants a gradient; what comes back stays in .grad.
        self.read.append(output.requires_grad_())

    def of(self, stack: str) -> list[Call]:
        """The runs of a stack's layers, the lowest first."""
        return [w.calls[0] for name, w in self._watched if name.startswith(f"{stack}.layers.")]

    def products(self, stack: str) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """A weight's name, and what its gradient is the sum of, for all weights of a stack."""
        for layer, call in enumerate(self.of(stack)):
            for weight, made, of in call.products():
                yield f"{stack}.{layer}.{weight}", made, of
        for name, ((made, of), *_) in self._linear.items():
            if name.startswith(f"{stack}.layers."):
                yield name.replace(".layers.", "."), made, of

    def pointed(
        self, ends: Sequence[int], owner: Tensor
    ) -> Iterator[tuple[str, Tensor, Tensor | None, Tensor]]:
        """The same for a pointer's weights, with the owner of each row.

        Args:
            ends: the step before which each span ended. What keys are made of has a row for each
                step of the span's record, all else for each query.
            owner: of each step, (N,).
        """
        for name, kept in self._linear.items():
            if not name.startswith("pointer."):
                continue
            made, of = (torch.cat(parts) for parts in zip(*kept, strict=True))
            spans = zip(kept, ends, strict=True)
            steps = torch.cat([torch.arange(end - len(own), end) for (own, _), end in spans])
            yield f"{name}.weight", made, of, owner[steps]
            if self._chatbot.get_submodule(name).bias is not None:
                yield f"{name}.bias", made, None, owner[steps]


class _Shares:
    """Adds up what each message gives to each weight.

    Args:
        count: of messages.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.shares: dict[str, Tensor] = {}
        self.norms: dict[str, float] = {}

    def add(self, name: str, made: Tensor, of: Tensor | None, owner: Tensor) -> None:
        """Of one weight; arguments as for `share`."""
        gradient = summed(made, of)
        self.norms[name] = float(gradient.norm())
        self.shares[name] = share(gradient, made, of, owner, self.count)

    def add_embedding(
        self,
        chatbot: Chatbot,
        read: Sequence[tuple[Tensor, Tensor, Tensor]],
        said: tuple[Tensor, Tensor, Tensor, Tensor | None],
        of_output: Tensor,
    ) -> None:
        """Of the embedding, which reads and says.

        Args:
            chatbot: whose it is.
            read: ids, the gradients of their embeddings, and owners, each with as many rows.
            said: hidden states, targets and owners, and how much of each target's probability is
                the vocabulary's; None: all.
            of_output: the gradient of the output's weight.
        """
        gradient = of_output
        for ids, made, _ in read:
            gradient = gradient.index_add(0, ids, made)
        total = torch.zeros(self.count + 1, dtype=torch.float64)
        for ids, made, owner in read:
            total.index_add_(0, owner, (made * gradient[ids]).sum(1).double())
        hidden, targets, owner, spelled = said
        along = along_output(chatbot, hidden, targets, gradient)
        total.index_add_(0, owner, (along if spelled is None else along * spelled).double())
        square = float(gradient.double().square().sum())
        self.norms["embedding"] = square**0.5
        self.shares["embedding"] = total[:-1] / square if square else total[:-1]


def _owners(messages: Sequence[np.ndarray]) -> Tensor:
    """Which message each token belongs to, (N,)."""
    lengths = torch.tensor([len(message) for message in messages])
    return torch.arange(len(messages)).repeat_interleave(lengths)


def _split(values: Tensor, messages: Sequence[np.ndarray]) -> list[Tensor]:
    return list(values.split([len(message) for message in messages]))


def _tokens(
    chatbot: TokensChatbot,
    messages: Sequence[np.ndarray],
    counted: Sequence[bool],
    start: State,
    watch: _Watch,
) -> Whole:
    ids, owner = flat(messages), _owners(messages)
    ends = torch.tensor([len(message) for message in messages]).cumsum(0) - 1
    counts = torch.tensor(counted)[owner]
    counts[0] = False
    counts[1:] &= owner[1:] == owner[:-1]  # who speaks is given
    at = counts.nonzero().squeeze(1)
    x = chatbot.embedding(ids)
    hidden, _ = chatbot.stack(x.unsqueeze(1), chatbot.split(start)[0])
    flat_hidden = hidden.detach().squeeze(1)
    shares = _Shares(len(messages))
    of_output = torch.zeros_like(chatbot.output_layer[0])
    told, spelled, recorded = flat_hidden[at - 1], None, None
    if chatbot.pointer is None:
        nats, own = pulls(chatbot, told, ids[at], None, of_output)
        pull = torch.zeros_like(flat_hidden)
        pull[at - 1] = own
        pulls_of = at_own_steps(pull)
    else:
        record = chatbot.split(start)[1]
        told_of = PointedConversation(chatbot.pointer, ids, flat_hidden, flat_hidden, record)
        of_messages = [at[owner[at] == n] for n in range(len(messages))]
        parts = Parts(chatbot, told_of, of_messages, of_output)
        pulls_of, found = parts, parts.together
        nats, told, spelled, pull = found.nats, found.told, found.spelled, found.both
        for each in watch.pointed(found.ends, owner):
            shares.add(*each)
        recorded = _by_message(found.keys, owner, len(messages))
    torch.autograd.backward(hidden, pull.unsqueeze(1))

    for name, made, of in watch.products("stack"):
        shares.add(name, made, of, owner.unsqueeze(1))
    (read,) = watch.read
    assert read.grad is not None
    said = (told, ids[at], owner[at], spelled)
    shares.add_embedding(chatbot, [(ids, read.grad, owner)], said, of_output)
    token_nats = torch.zeros(len(ids), dtype=torch.float64)
    token_nats[at] = nats
    calls = watch.of("stack")
    x = x.detach()
    by_message = _split(token_nats, messages)
    at_ends = ends.tolist()
    return _whole(chatbot.stack, x, pulls_of, at_ends, True, calls, by_message, shares, recorded)


def _by_message(gradient: Tensor, owner: Tensor, count: int) -> Tensor:
    """The norm of the rows of each message, (count,)."""
    squares = gradient.new_zeros(count).index_add_(0, owner, gradient.square().sum(1))
    return squares.sqrt()


def _whole(
    stack: RecurrentStack,
    x: Tensor,
    pulls_of: Pulls,
    ends: list[int],
    own_steps: bool,
    calls: list[Call],
    token_nats: list[Tensor],
    shares: _Shares,
    recorded: Tensor | None,
) -> Whole:
    gates = [gates_of(call) for call in calls]
    at = torch.tensor(ends)
    layers = [states_before(call, own, at) for call, own in zip(calls, gates, strict=True)]
    first = tuple(part for call in calls for part in call.state)
    if None in layers:  # a cell of the user's own
        before_ends = carried(stack, x, ends, first)
    else:
        before_ends = tuple(part for layer in layers for part in layer or ())
    steps = torch.stack([call.gradient.squeeze(1) for call in calls])
    return Whole(
        chain=Chain(stack, x, pulls_of, ends, own_steps, before_ends, first),
        layers=[f"layer {number + 1}" for number in range(len(calls))],
        nats=torch.stack([values.sum() for values in token_nats]),
        token_nats=token_nats,
        state=torch.stack([call.h.squeeze(1)[at] for call in calls], dim=1),
        gradient=steps[:, at].transpose(0, 1),
        steps=steps,
        recorded=recorded,
        shares=shares.shares,
        norms=shares.norms,
        units=[units(call, own) for call, own in zip(calls, gates, strict=True)],
    )


def _messages(
    chatbot: MessagesChatbot,
    messages: Sequence[np.ndarray],
    counted: Sequence[bool],
    start: State,
    watch: _Watch,
) -> Whole:
    count = len(messages)
    vectors, heard = chatbot.heard(messages)
    parts = len(chatbot.conversation.state_spec(""))
    context, _ = chatbot.conversation(vectors.unsqueeze(1), start[:parts])
    # What is remembered when each message is said.
    before = torch.cat([start[parts], context.detach()[:-1, 0]])
    before = before.requires_grad_()
    spoken = [n for n in range(count) if counted[n]]
    said = [messages[n] for n in spoken]
    hidden, targets = chatbot.decode(said, before[torch.tensor(spoken)])
    shares = _Shares(count)
    of_output = torch.zeros_like(chatbot.output_layer[0])
    told, spelled, recorded, looked_at = hidden.detach(), None, None, []
    if chatbot.pointer is None:
        nats, own = pulls(chatbot, told, targets, None, of_output)
    else:
        begins = np.cumsum([0, *map(len, messages)]).tolist()
        # All that is said but the roles, in the order in which it is decoded.
        of_messages = [torch.arange(begins[n] + 1, begins[n + 1]) for n in spoken]
        at = torch.cat(of_messages)
        keys, owner_of = torch.cat(heard), _owners(messages)
        queries = torch.zeros_like(keys).index_copy(0, at - 1, told)
        told_of = PointedConversation(
            chatbot.pointer, flat(messages), queries, keys.detach(), chatbot.split(start)[1]
        )
        found = Parts(chatbot, told_of, of_messages, of_output).together
        nats, told, spelled = found.nats, found.told, found.spelled
        own = found.queries[at - 1]
        for each in watch.pointed(found.ends, owner_of):
            shares.add(*each)
        recorded = _by_message(found.keys, owner_of, count)
        looked_at = [(keys, found.keys)]
    torch.autograd.backward(hidden, own)
    assert before.grad is not None
    pull = torch.cat([before.grad[1:], torch.zeros_like(before.grad[:1])])
    # The encoder hears of both ways at once.
    ways = [(context, pull.unsqueeze(1)), *looked_at]
    torch.autograd.backward([way for way, _ in ways], [gradient for _, gradient in ways])

    encoded = pack([chatbot._cut(message) for message in messages])
    decoded = pack([message[:-1] for message in said])
    of_said = torch.tensor([*spoken, count])[decoded.owner]
    owners = {
        "encoder": encoded.owner,
        "conversation": torch.arange(count).unsqueeze(1),
        "decoder": of_said,
    }
    for stack, owner in owners.items():
        for name, made, of in watch.products(stack):
            shares.add(name, made, of, owner)
    dheard, spoke = (_gradient_of(read) for read in watch.read)
    remembered = torch.cat([before.detach(), torch.zeros_like(before[:1])])[of_said]
    scale = chatbot.context.in_features
    shares.add("context", spoke, remembered / scale, of_said)
    token_owner = torch.tensor(spoken).repeat_interleave(
        torch.tensor([len(message) - 1 for message in said])
    )
    read = [
        (packed.ids.flatten(), made.flatten(0, 1), owner.flatten())
        for packed, made, owner in ((encoded, dheard, encoded.owner), (decoded, spoke, of_said))
    ]
    shares.add_embedding(chatbot, read, (told, targets, token_owner, spelled), of_output)
    token_nats = [torch.zeros(len(message), dtype=torch.float64) for message in messages]
    for n, values in zip(spoken, nats.split([len(m) - 1 for m in said]), strict=True):
        token_nats[n][1:] = values
    x = vectors.detach()
    ends = list(range(count))
    calls = watch.of("conversation")
    own_pulls = at_own_steps(pull)
    return _whole(
        chatbot.conversation, x, own_pulls, ends, False, calls, token_nats, shares, recorded
    )


def _gradient_of(read: Tensor) -> Tensor:
    return torch.zeros_like(read) if read.grad is None else read.grad
