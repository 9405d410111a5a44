"""A whole conversation through the lens, held to autograd through a loop in plain sight."""

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import CELLS, State
from elman.data.tokenizer import END
from elman.lens.chain import frozen, unfolded
from elman.lens.lags import FollowedReply, draw_replies, lags, reach
from elman.lens.listening import listen
from elman.lens.tracing import TracingUnfold
from elman.lens.units import gates_of, units
from elman.lens.view import ViewedMessage, look, stretch
from elman.lens.whole import differentiate
from elman.model import Chatbot, MessagesChatbot, ModelConfig, TokensChatbot, build
from elman.model.blocks import RecurrentBlock

VOCABULARY = 30
# float64: rounding of about 1e-16 a step, over some dozens of steps.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}


KINDS = ["tokens", "messages", "tokens 3", "tokens 40", "messages 3", "messages 40"]
"""Of memories; a number is the length of a pointer."""


def made(memory: str, cell: str, seed: int) -> Chatbot:
    torch.manual_seed(seed)
    kind, _, pointer = memory.partition(" ")
    sizes = {"hidden_size": 5, "layers": 2, "mlp": 1.0, "dropout": 0.3, "pointer": pointer or 0}
    config = ModelConfig.model_validate({"memory": kind, "cell": cell, **sizes})
    chatbot = build(config, VOCABULARY).double()
    for parameter in chatbot.parameters():  # some begin at zero, and let nothing pass
        torch.nn.init.normal_(parameter, std=0.5)
    return chatbot


def conversation(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.array([1 + n % 2, *rng.integers(4, VOCABULARY, rng.integers(0, 4)), END], np.uint16)
        for n in range(count)
    ]


@dataclass
class Plain:
    """h of each layer of the chain at each step, the loss of each message, and the weights that it
    used: copies of its own, so that their gradients tell messages apart.
    """

    h: list[list[Tensor]]
    losses: list[Tensor]
    ends: list[int]
    used: list[dict[str, Tensor]]

    def at(self, n: int) -> list[Tensor]:
        return [layer[self.ends[n]] for layer in self.h]

    def gradient(self, loss: Tensor, n: int) -> Tensor:
        """dloss/dh after message n, (layers, H)."""
        if loss.grad_fn is None:
            return torch.zeros(len(self.h), 5, dtype=torch.float64)
        found = torch.autograd.grad(
            loss, self.at(n), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.stack([part[0] for part in found])


def step(
    block: RecurrentBlock, x: Tensor, state: State, used: dict[str, Tensor], name: str
) -> tuple[Tensor, State]:
    cell = block.cell
    weights = {}
    for which in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own = getattr(cell, which)
        if own is not None:
            key = f"{name}.{which}"
            weights[which] = used.setdefault(key, own.detach().clone().requires_grad_())
    gx = F.linear(block.norm(x), weights["weight_ih"], weights["bias_ih"])
    gh = gx[:, :0]
    if "weight_hh" in weights:
        gh = F.linear(state[0], weights["weight_hh"], weights["bias_hh"])
    after, _ = cell.step(gx, gh, state)
    h = after[0].clone()
    x = x + h
    if block.mlp is not None:
        x = block.mlp(x)
    return x, (h, *after[1:])


def mixture(
    chatbot: Chatbot, ids: list[int], keys: list[Tensor], query: Tensor, target: int
) -> Tensor:
    """-log p of a token, given all before it and what it is predicted from, (1, H)."""
    wanted = torch.tensor([target])
    if chatbot.pointer is None:
        return F.cross_entropy(chatbot.logits(query), wanted)
    spec = chatbot.pointer.state_spec("")
    zeros = tuple(torch.zeros(1, each.size, dtype=torch.float64) for each in spec)
    record, _ = chatbot.pointer.record(torch.tensor(ids)[:, None], torch.stack(keys), zeros)
    queries = torch.stack([*keys[:-1], query])
    targets = torch.full((len(ids), 1), target)
    told, pointed = chatbot.pointer.point(record, queries, targets)
    of_words = chatbot.logits(told[-1]).log_softmax(1)[:, target]
    return -(pointed.log_gate[-1] + torch.logaddexp(of_words, pointed.odds[-1])).sum()


def plain(chatbot: Chatbot, messages: list[np.ndarray], counted: list[bool]) -> Plain:
    chatbot.eval()
    stack = chatbot.through_time
    states = [block.cell.initial_state(1) for block in stack.blocks]
    found = Plain([[] for _ in states], [], [], [])
    name = "stack" if isinstance(chatbot, TokensChatbot) else "conversation"
    nothing = torch.zeros((), dtype=torch.float64)

    def take(x: Tensor, used: dict[str, Tensor]) -> Tensor:
        for layer, block in enumerate(stack.blocks):
            x, states[layer] = step(block, x, states[layer], used, f"{name}.{layer}")
            found.h[layer].append(states[layer][0])
        out: Tensor = stack.norm(x)
        return out

    context = torch.zeros(1, 5, dtype=torch.float64)
    read: list[int] = []
    keys: list[Tensor] = []
    for message, counts in zip(messages, counted, strict=True):
        ids = torch.from_numpy(message.astype(np.int64))
        used: dict[str, Tensor] = {}
        loss = nothing
        if isinstance(chatbot, TokensChatbot):
            for place, token in enumerate(ids):
                out = take(chatbot.embedding(token[None]), used)
                read.append(int(token))
                keys.append(out)
                if counts and place + 1 < len(ids):
                    loss = loss + mixture(chatbot, read, keys, out, int(ids[place + 1]))
        else:
            assert isinstance(chatbot, MessagesChatbot)
            hidden, targets = chatbot.decode([message], context)
            heard = hidden if chatbot.pointer is None else chatbot.encode([message])[1][0]
            for place, target in enumerate(targets.tolist()):
                read.append(int(message[place]))
                keys.append(heard[place : place + 1])
                if counts:
                    loss = loss + mixture(chatbot, read, keys, hidden[place : place + 1], target)
            read.append(END)
            keys.append(heard[-1:])
            context = take(chatbot.encode([message])[0], used)
        found.losses.append(loss)
        found.ends.append(len(found.h[0]) - 1)
        found.used.append(used)
    return found


conversations = {
    "memory": st.sampled_from(KINDS),
    "cell": st.sampled_from(sorted(CELLS)),
    "count": st.integers(2, 7),
    "seed": st.integers(0, 2**16),
    "data": st.data(),
}


def drawn_counts(data: st.DataObject, count: int) -> list[bool]:
    """Whose messages count: at least one that is not the first."""
    counted = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    counted[data.draw(st.integers(1, count - 1))] = True
    return counted


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(window=st.integers(1, 8), **conversations)
def test_direct_and_indirect_are_one_backward_pass_for_each_loss(
    memory: str, cell: str, count: int, seed: int, window: int, data: st.DataObject
) -> None:
    chatbot, messages = made(memory, cell, seed), conversation(count, seed)
    counted = drawn_counts(data, count)
    whole = differentiate(chatbot, messages, counted)
    expected = plain(chatbot, messages, counted)
    torch.testing.assert_close(whole.nats, torch.stack(expected.losses).detach(), **EXACT)
    for tokens, nats, message in zip(whole.token_nats, whole.nats, messages, strict=True):
        assert len(tokens) == len(message)
        torch.testing.assert_close(tokens.sum(), nats, **EXACT)
    with frozen(chatbot):
        direct = unfolded(whole.chain, 1, count - 1)
        cut = unfolded(whole.chain, window, count - 1)
    for n in range(count - 1):
        later = [expected.gradient(loss, n) for loss in expected.losses[n + 1 :]]
        torch.testing.assert_close(direct[n], later[0], **EXACT)
        indirect = sum(later[1:], torch.zeros_like(later[0]))
        torch.testing.assert_close(whole.gradient[n], direct[n] + indirect, **EXACT)
        # The window of K states that n is in ends with the loss that follows its last state.
        reached = window - n % window
        torch.testing.assert_close(cut[n], torch.stack(later[:reached]).sum(0), **EXACT)
    assert not whole.gradient[-1].any()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(**conversations)
def test_what_all_messages_give_to_a_weight_is_its_gradient(
    memory: str, cell: str, count: int, seed: int, data: st.DataObject
) -> None:
    chatbot, messages = made(memory, cell, seed), conversation(count, seed)
    counted = drawn_counts(data, count)
    whole = differentiate(chatbot, messages, counted)
    expected = plain(chatbot, messages, counted)
    total = torch.stack(expected.losses).sum()
    names = list(expected.used[0])
    for name in names:
        shares = torch.autograd.grad(
            total,
            [used[name] for used in expected.used],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        gradient = torch.stack(shares).sum(0)
        assert whole.norms[name] == pytest.approx(float(gradient.norm()), rel=1e-10, abs=1e-12)
        square = float(gradient.square().sum())
        if square < 1e-20:
            continue
        along = torch.stack([(share * gradient).sum() for share in shares]) / square
        torch.testing.assert_close(whole.shares[name], along, **EXACT)
    chatbot.zero_grad()
    losses = _losses(chatbot, messages, counted)
    losses.backward()
    theirs = {_name(name): p.grad for name, p in chatbot.named_parameters()}
    for name, shares_ in whole.shares.items():
        gradient_ = theirs[name]
        assert gradient_ is not None, name
        assert whole.norms[name] == pytest.approx(float(gradient_.norm()), rel=1e-9, abs=1e-12)
        if gradient_.norm() > 1e-10:
            assert float(shares_.sum()) == pytest.approx(1, abs=1e-10)
    matrices = {name for name, p in theirs.items() if p is not None and p.dim() == 2}
    assert matrices == {name for name in whole.shares if "bias" not in name}


def _losses(chatbot: Chatbot, messages: list[np.ndarray], counted: list[bool]) -> Tensor:
    """The trainer's own way to the same loss."""
    from elman.bptt import Full
    from elman.data.message_stream import MessageWindow, RowWindow

    window = MessageWindow([RowWindow(messages, counted, len(messages) - 1, True)])
    return chatbot.eval().loss(window, None, Full()).nats


def _name(parameter: str) -> str:
    """A parameter's name as the lens has it."""
    for part in (".layers.", ".cell."):
        parameter = parameter.replace(part, ".")
    if parameter.endswith((".up.weight", ".down.weight")) or parameter.count(".") == 1:
        parameter = parameter.removesuffix(".weight")
    return parameter


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(heard=st.integers(0, 2), **conversations)
def test_lags_are_autograds(
    memory: str, cell: str, count: int, seed: int, heard: int, data: st.DataObject
) -> None:
    """Several replies of different lengths side by side, also after messages that are only read."""
    chatbot = made(memory, cell, seed)
    all_messages = [conversation(count, seed), conversation(3, seed + 1)]
    replies, expected = [], []
    for messages in all_messages:
        before = min(heard, len(messages) - 2)
        replies.append(FollowedReply(messages[before:], messages[:before]))
        run = plain(chatbot, messages, [True] * len(messages))
        last = len(messages) - 1
        expected.append(
            torch.stack(
                [run.gradient(run.losses[last], n).norm(dim=1) for n in range(before, last)]
            ).flip(0)
        )
    found = lags(chatbot, replies, most=10)
    for lag in range(len(found.messages)):
        there = [each[lag] for each in expected if len(each) > lag]
        assert int(found.replies[lag]) == len(there)
        torch.testing.assert_close(found.messages[lag], torch.stack(there).mean(0), **EXACT)
        whole = torch.stack([each.norm() for each in there]).mean()
        torch.testing.assert_close(found.whole[lag], whole, **EXACT)
    assert (found.tokens is None) == memory.startswith("messages")


@pytest.mark.parametrize("memory", ["tokens", "tokens 3", "tokens 40"])
def test_lags_by_token_are_autograds(memory: str) -> None:
    chatbot = made(memory, "lstm", 3)
    messages = conversation(5, 3)
    run = plain(chatbot, messages, [True] * 5)
    found = lags(chatbot, [FollowedReply(messages)], most=10, most_tokens=1000)
    end = run.ends[3]
    assert found.tokens is not None
    assert len(found.tokens) == end + 1
    for back in range(end + 1):
        hs = [layer[end - back] for layer in run.h]
        parts = torch.autograd.grad(run.losses[4], hs, retain_graph=True)
        norms = torch.stack([part.norm() for part in parts])
        torch.testing.assert_close(found.tokens[back], norms, **EXACT)


@pytest.mark.parametrize("memory", KINDS)
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_view_of_a_stretch(memory: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of the view agree with each other, also where only the end is seen closely."""
    chatbot = made(memory, cell, 7)
    messages = conversation(9, 7)
    said = [
        ViewedMessage("Ann", "bot", "x", tokens, n % 2 == 1) for n, tokens in enumerate(messages)
    ]
    monkeypatch.setattr("elman.lens.view.MAX_VIEWED_MESSAGES", 7)
    monkeypatch.setattr("elman.lens.view.CLOSE_TOKENS", sum(map(len, messages[-5:])))
    view = look(chatbot, said)
    assert (len(view.said), view.skipped, view.close) == (7, 2, 5)
    run = plain(chatbot, messages, [s.counts for s in said])
    assert view.direct is not None
    assert view.indirect is not None
    for n in range(6):
        later = [run.gradient(loss, n + 2) for loss in run.losses[n + 3 :]]
        torch.testing.assert_close(view.direct[n], later[0].norm(dim=1), **EXACT)
        if len(later) > 1:
            rest = torch.stack(later[1:]).sum(0)
            torch.testing.assert_close(view.indirect[n], rest.norm(dim=1), **EXACT)
    two = view.unfoldings[2]
    for place in range(4):
        later = [run.gradient(loss, place + 4) for loss in run.losses[place + 5 :]]
        kept = torch.stack(later[1 : 2 - place % 2] or [torch.zeros_like(later[0])]).sum(0)
        torch.testing.assert_close(two.indirect[place], kept.norm(dim=1), **EXACT)
        lost = torch.stack(later).sum(0) - later[0] - kept
        torch.testing.assert_close(two.lost[place], lost.norm(dim=1), **EXACT)
    assert 0 <= two.share <= 1
    if memory.startswith("messages"):
        assert view.token_direct is None
        return
    begin = run.ends[3] + 1
    assert view.token_direct is not None
    assert view.token_gradient is not None
    total = torch.stack(run.losses).sum()
    place = 0
    for n in range(4, 9):
        ids = torch.from_numpy(messages[n].astype(np.int64))
        for t in range(len(ids)):
            hs = [layer[begin + place] for layer in run.h]
            every = torch.autograd.grad(
                total, hs, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            norms = torch.stack([part.norm() for part in every])
            torch.testing.assert_close(view.token_gradient[place], norms, **EXACT)
            if not said[n].counts or t + 1 == len(ids):
                assert not view.token_direct[place].any()
            else:
                assert view.token_direct[place].all()
            place += 1
    assert place == len(view.token_direct)


@pytest.mark.parametrize("memory", ["tokens", "tokens 3", "tokens 40"])
def test_a_tokens_own_pull_is_its_own_losss_alone(memory: str) -> None:
    """By the same loop, cut after every step: all that is left is a step's own loss, for which the
    record is what it is.
    """
    chatbot = made(memory, "gru", 5)
    assert isinstance(chatbot, TokensChatbot)
    messages = conversation(4, 5)
    said = [ViewedMessage("Ann", "bot", "x", tokens, True) for tokens in messages]
    view = look(chatbot, said)
    chatbot.eval()
    states = [block.cell.initial_state(1) for block in chatbot.stack.blocks]
    assert view.token_direct is not None
    place = 0
    read: list[int] = []
    keys: list[Tensor] = []
    for message in messages:
        ids = torch.from_numpy(message.astype(np.int64))
        for t, token in enumerate(ids):
            x, hs = chatbot.embedding(token[None]), []
            for layer, block in enumerate(chatbot.stack.blocks):
                x, after = step(block, x, states[layer], {}, "")
                hs.append(after[0])
                states[layer] = tuple(part.detach() for part in after)
            out = chatbot.stack.norm(x)
            read.append(int(token))
            keys.append(out.detach())
            if t + 1 < len(ids):
                loss = mixture(chatbot, read, keys, out, int(ids[t + 1]))
                norms = torch.stack([part.norm() for part in torch.autograd.grad(loss, hs)])
                torch.testing.assert_close(view.token_direct[place], norms, **EXACT)
            place += 1


@pytest.mark.parametrize("memory", KINDS)
def test_looking_changes_nothing(memory: str) -> None:
    chatbot = made(memory, "lstm", 1).train()
    before = {name: tensor.clone() for name, tensor in chatbot.state_dict().items()}
    said = [ViewedMessage("Ann", "bot", "x", tokens, True) for tokens in conversation(4, 1)]
    look(chatbot, said)
    assert chatbot.training
    assert all(module.training for module in chatbot.modules())
    for name, parameter in chatbot.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in chatbot.modules())


@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru", "minlstm", "rnn"])
def test_gates_are_those_of_the_cells_own_steps(cell: str) -> None:
    torch.manual_seed(0)
    module = CELLS[cell](3, 4).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=2.0)
    x = torch.randn(9, 1, 3, dtype=torch.float64)
    traced = TracingUnfold()
    with torch.no_grad():
        traced(module, x)
    (call,) = traced.calls
    gates = gates_of(call)
    found = units(call, gates)
    if cell == "rnn":
        assert gates.values == {}
        assert found.hold is None
        return
    assert gates.keep is not None
    # What a unit keeps is the slope of its memory in its memory before.
    state = module.initial_state(1)
    for t in range(9):
        leaves = tuple(part.clone().requires_grad_() for part in state)
        gx = F.linear(x[t], module.weight_ih, module.bias_ih).detach()
        gh = gx[:, :0]
        if module.weight_hh is not None:
            gh = F.linear(state[0], module.weight_hh, module.bias_hh).detach()
        after, _ = module.step(gx, gh, leaves)
        (slope,) = torch.autograd.grad(after[-1].sum(), leaves[-1])
        torch.testing.assert_close(gates.keep[t], slope[0], **EXACT)
        torch.testing.assert_close(gates.memory[t], after[-1][0].detach(), **EXACT)
        state = tuple(part.detach() for part in after)
    assert found.hold is not None
    product = gates.keep.prod(0)
    torch.testing.assert_close((-9 / found.hold).exp(), product, **EXACT)
    for name, pair in found.gates.items():
        values = gates.values[name]
        torch.testing.assert_close(pair[:, 0], (values < 0.1).double().mean(0))
        assert found.stuck[name][1] == int((values > 0.9).all(0).sum())


def test_a_dead_unit_is_named() -> None:
    torch.manual_seed(0)
    module = CELLS["rnn"](3, 4).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter[2] = 0
    traced = TracingUnfold()
    traced(module, torch.randn(9, 1, 3, dtype=torch.float64))
    call = traced.calls[0]
    assert units(call, gates_of(call)).dead == [2]


@pytest.mark.parametrize(
    ("by_lag", "expected"),
    [
        ([1.0, 0.0], (1, False)),
        ([1.0, 0.5, 0.005], (2, False)),
        ([1.0, 1.0, 1.0], (3, True)),
        ([0.0, 0.0], (0, False)),
        ([float("nan"), 1.0], (0, False)),
    ],
)
def test_reach(by_lag: list[float], expected: tuple[int, bool]) -> None:
    assert reach(torch.tensor(by_lag, dtype=torch.float64)) == expected


def test_replies_with_a_long_history_are_drawn_first() -> None:
    own = [conversation(12, 0), conversation(3, 1)]
    counted = [[n % 2 == 1 for n in range(len(each))] for each in own]
    drawn = draw_replies(own, counted, replies=2, most=9, heard=1, seed=0)
    assert sorted(len(reply.messages) for reply in drawn) == [10, 10]
    assert sorted(len(reply.before) for reply in drawn) == [0, 1]
    everything = draw_replies(own, counted, replies=99, most=9, heard=1, seed=0)
    assert len(everything) == 7
    assert draw_replies(own, [[True, *[False] * 11], [True, False, False]], replies=9, most=3,
                        heard=0, seed=0) == []  # fmt: skip


def test_a_long_conversation_is_seen_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [ViewedMessage("Ann", "bot", "x", tokens, True) for tokens in conversation(40, 0)]
    assert stretch(said) == 0
    monkeypatch.setattr("elman.lens.view.MAX_VIEWED_TOKENS", sum(len(s.tokens) for s in said[-5:]))
    assert stretch(said) == 35
    monkeypatch.setattr("elman.lens.view.MAX_VIEWED_TOKENS", 1)
    assert stretch(said) == 38  # two messages at least: a state, and a loss after it


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_rounded_weights_show_losses_and_states(memory: str) -> None:
    """In full precision this way too, both views show the same."""
    chatbot = made(memory, "lstm", 2).float()
    said = [
        ViewedMessage("Ann", "bot", "x", tokens, n > 0)
        for n, tokens in enumerate(conversation(5, 2))
    ]
    seen = look(chatbot, said)
    heard = listen(chatbot.eval().pack_weights("float32"), said, "int8", lambda _: None)
    # float32, and in another order of sums.
    torch.testing.assert_close(heard.nats, seen.nats, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(heard.state, seen.state, rtol=1e-4, atol=1e-4)
    assert heard.whole is None
    assert "int8 have no gradient" in heard.lost[0]
