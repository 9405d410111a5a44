"""The actual backward pass over a whole conversation, and what each message gives each weight."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State
from elman.lens.chain import Chain, along_output, carried, flat, frozen, pulls
from elman.lens.lens import summed
from elman.lens.pointing import Conversation, Parts
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
    recorded: Tensor | None = field(default=None, kw_only=True)
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


class _Shares:
    """Adds up what each message gives to each weight.

    Args:
        count: of messages.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.shares: dict[str, Tensor] = {}
        self.norms: dict[str, float] = {}
        self._pointer: dict[str, list[tuple[Tensor, Tensor | None, Tensor]]] = {}

    def add(self, name: str, made: Tensor, of: Tensor | None, owner: Tensor) -> None:
        """Of one weight; arguments as for `share`."""
        gradient = summed(made, of)
        self.norms[name] = float(gradient.norm())
        self.shares[name] = share(gradient, made, of, owner, self.count)

    def of_pointer(self, name: str, made: Tensor, of: Tensor | None, steps: Tensor) -> None:
        """Keep what one of a pointer's weights did in some steps."""
        self._pointer.setdefault(name, []).append((made, of, steps))

    def add_pointer(self, owner: Tensor) -> None:
        """Of all of a pointer's weights, given the owner of each step."""
        for name, parts in self._pointer.items():
            made, of, steps = zip(*parts, strict=True)
            applied = None if of[0] is None else torch.cat(of).unsqueeze(1)
            self.add(name, torch.cat(made).unsqueeze(1), applied, owner[torch.cat(steps)])

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
    recorded, pull_of, spelled = None, None, None
    told = flat_hidden[at - 1]
    if chatbot.pointer is None:
        nats, own, of_output, _ = pulls(chatbot, told, ids[at])
        pull = torch.zeros_like(flat_hidden)
        pull[at - 1] = own
    else:
        record = chatbot.split(start)[1]
        told_of = Conversation(chatbot.pointer, ids, flat_hidden, flat_hidden, record)
        of_messages = [at[owner[at] == n] for n in range(len(messages))]
        pull_of = Parts(chatbot, told_of, of_messages, shares.of_pointer)
        found = pull_of.together()
        nats, told, spelled, recorded = found.nats, found.told, found.spelled, found.keys
        of_output = pulls(chatbot, told, ids[at], found.odds)[2]
        pull = found.both
    torch.autograd.backward(hidden, pull.unsqueeze(1))

    for name, made, of in watch.products("stack"):
        shares.add(name, made, of, owner.unsqueeze(1))
    shares.add_pointer(owner)
    (read,) = watch.read
    assert read.grad is not None
    said = (told, ids[at], owner[at], spelled)
    shares.add_embedding(chatbot, [(ids, read.grad, owner)], said, of_output)
    token_nats = torch.zeros(len(ids), dtype=torch.float64)
    token_nats[at] = nats
    calls = watch.of("stack")
    x = x.detach()
    whole = _whole(
        chatbot.stack, x, pull, ends.tolist(), True, calls, _split(token_nats, messages), shares
    )
    if recorded is None:
        return whole
    whole = replace(whole, chain=replace(whole.chain, pull_of=pull_of))
    return _with_record(whole, recorded, owner)


def _with_record(whole: Whole, recorded: Tensor, owner: Tensor) -> Whole:
    """With the norm, for each message, of what comes back at its tokens through the record."""
    squares = torch.zeros(len(whole.nats), dtype=recorded.dtype)
    squares.index_add_(0, owner, recorded.square().sum(1))
    return replace(whole, recorded=squares.sqrt())


def _whole(
    stack: RecurrentStack,
    x: Tensor,
    pull: Tensor,
    ends: list[int],
    own_steps: bool,
    calls: list[Call],
    token_nats: list[Tensor],
    shares: _Shares,
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
        chain=Chain(stack, x, pull, ends, own_steps, before_ends, first),
        layers=[f"layer {number + 1}" for number in range(len(calls))],
        nats=torch.stack([values.sum() for values in token_nats]),
        token_nats=token_nats,
        state=torch.stack([call.h.squeeze(1)[at] for call in calls], dim=1),
        gradient=steps[:, at].transpose(0, 1),
        steps=steps,
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
    told, spelled, recorded = hidden.detach(), None, None
    if chatbot.pointer is None:
        nats, own, of_output, _ = pulls(chatbot, told, targets)
    else:
        begins = np.cumsum([0, *map(len, messages)]).tolist()
        # All that is said but the roles, in the order in which it is decoded.
        of_messages = [torch.arange(begins[n] + 1, begins[n + 1]) for n in spoken]
        at = torch.cat(of_messages)
        keys = torch.cat(heard)
        queries = torch.zeros_like(keys).index_copy(0, at - 1, told)
        told_of = Conversation(
            chatbot.pointer, flat(messages), queries, keys.detach(), chatbot.split(start)[1]
        )
        found = Parts(chatbot, told_of, of_messages, shares.of_pointer).together()
        nats, told, spelled, recorded = found.nats, found.told, found.spelled, found.keys
        of_output = pulls(chatbot, told, targets, found.odds)[2]
        own = found.queries[at - 1]
    torch.autograd.backward(hidden, own)
    assert before.grad is not None
    pull = torch.cat([before.grad[1:], torch.zeros_like(before.grad[:1])])
    if recorded is None:
        torch.autograd.backward(context, pull.unsqueeze(1))
    else:  # the encoder hears of both ways at once
        torch.autograd.backward([context, keys], [pull.unsqueeze(1), recorded])

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
    shares.add_pointer(_owners(messages))
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
    whole = _whole(chatbot.conversation, x, pull, ends, False, calls, token_nats, shares)
    return whole if recorded is None else _with_record(whole, recorded, _owners(messages))


def _gradient_of(read: Tensor) -> Tensor:
    return torch.zeros_like(read) if read.grad is None else read.grad
