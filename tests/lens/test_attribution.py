"""Attribution: leaving a message out is never having heard it, and the gradient is autograd's."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elman.data.tokenizer import END, ROLES, SPECIALS, Tokenizer
from elman.generate.network import NetworkBot
from elman.lens.attribution import (
    Attribution,
    attribute,
    by_gradient,
    by_hiding,
    by_state,
    without_each,
)
from elman.model import MEMORIES, Chatbot, ModelConfig, build

VOCABULARY = 40
CELLS = ("rnn", "gru", "lstm", "mingru", "minlstm")

KINDS = [*sorted(MEMORIES), *(f"{memory} {n}" for memory in sorted(MEMORIES) for n in (3, 40))]
"""Of memories; a number is the length of a pointer."""

every_chatbot = pytest.mark.parametrize("memory", KINDS)


def make(memory: str, cell: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> Chatbot:
    torch.manual_seed(seed)
    kind, _, pointer = memory.partition(" ")
    sizes = {"hidden_size": 8, "layers": 3, "mlp": 1.0, "pointer": pointer or 0}
    config = ModelConfig.model_validate({"memory": kind, "cell": cell, **sizes})
    chatbot = build(config, VOCABULARY).to(dtype).eval()
    with torch.no_grad():
        for parameter in chatbot.parameters():  # so that nothing is still zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    return chatbot


def message(role: int, text: list[int]) -> np.ndarray:
    return np.array([role, *text, END], np.uint16)


texts = st.lists(st.integers(SPECIALS, VOCABULARY - 1), max_size=6)
messages = st.builds(message, st.sampled_from([1, 2, 3]), texts)
histories = st.lists(messages, min_size=1, max_size=6)
chatbots = st.builds(make, st.sampled_from(KINDS), st.sampled_from(CELLS), st.integers(0, 5))


def cost(chatbot: Chatbot, turns: list[np.ndarray], reply: np.ndarray, state: Any) -> float:
    """-log p of the reply in a fresh run."""
    nats, _ = chatbot.score([[*turns, reply]], state)
    return float(nats[0][-1])


def left_out(chatbot: Chatbot, turns: list[np.ndarray], reply: np.ndarray, state: Any) -> Tensor:
    """-log p of the reply given all turns, and given all but each one."""
    states = without_each(chatbot, turns, state)
    return chatbot.costs_of([reply] * len(states[0]), states)


def same(actual: Tensor, expected: Tensor) -> None:
    # Sums over other shapes of the same products, in float64.
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(chatbots, histories, messages, st.lists(messages, max_size=2))
def test_left_out_is_a_fresh_run_without_the_message(
    chatbot: Chatbot, turns: list[np.ndarray], reply: np.ndarray, before: list[np.ndarray]
) -> None:
    state = chatbot.initial_state(1)
    for earlier in before:
        state = chatbot.read(earlier, state)
    fresh = [cost(chatbot, turns, reply, state)]
    fresh += [cost(chatbot, turns[:n] + turns[n + 1 :], reply, state) for n in range(len(turns))]
    same(left_out(chatbot, turns, reply, state), torch.tensor(fresh, dtype=torch.float64))


@every_chatbot
def test_left_out_in_float32(memory: str) -> None:
    chatbot = make(memory, "lstm", dtype=torch.float32)
    turns = [message(1 + n % 2, [4 + n, 9, 11 + n]) for n in range(20)]
    reply, state = message(2, [5, 6, 7]), chatbot.initial_state(1)
    fresh = [cost(chatbot, turns, reply, state)]
    fresh += [cost(chatbot, turns[:n] + turns[n + 1 :], reply, state) for n in range(len(turns))]
    # A cost of about ten nats, of a hundred steps that are each rounded to seven digits.
    found = left_out(chatbot, turns, reply, state)
    torch.testing.assert_close(found, torch.tensor(fresh).double(), rtol=0, atol=3e-5)


def autograds(
    chatbot: Any, turns: list[np.ndarray], reply: np.ndarray
) -> tuple[list[float], list[float]]:
    """Both by a loop that is not the lens's: gradients of offsets of every input and state."""
    tokens = hasattr(chatbot, "stack")

    def ids(message: np.ndarray) -> Tensor:
        return torch.from_numpy(message.astype(np.int64))

    state, record = chatbot.split(chatbot.initial_state(1))
    offsets: list[Tensor] = []
    products: list[tuple[Tensor, ...]] = []
    for turn in turns:
        x = (chatbot.embedding(ids(turn)) if tokens else chatbot.encode([turn])[0]).detach()
        offset = torch.zeros_like(x, requires_grad=True)
        if tokens:
            keys, after = chatbot.stack((x + offset)[:, None], state)
        else:
            _, after = chatbot.remember([x + offset], (*state, *record))
            after = chatbot.split(after)[0]
            keys = None if chatbot.pointer is None else chatbot.encode([turn])[1][0][:, None]
        if chatbot.pointer is not None:
            record = chatbot.pointer.record(ids(turn)[:, None], keys, record)[1]
        moved = tuple(torch.zeros_like(part, requires_grad=True) for part in after)
        changes = tuple((new - old).detach() for new, old in zip(after, state, strict=True))
        state = tuple(part + extra for part, extra in zip(after, moved, strict=True))
        offsets += [offset, *moved]
        products.append((x, *changes))
    if tokens:
        keys, _ = chatbot.stack(chatbot.embedding(ids(reply))[:, None], state)
        hidden = keys[:-1, 0]
    else:
        context = state[len(chatbot.conversation.state_spec(""))]
        hidden, _ = chatbot.decode([reply], context)
        keys = None if chatbot.pointer is None else chatbot.encode([reply])[1][0][:, None]
    targets = ids(reply)[1:]
    if chatbot.pointer is None:
        nats = torch.nn.functional.cross_entropy(chatbot.logits(hidden), targets, reduction="sum")
    else:
        seen, _ = chatbot.pointer.record(ids(reply)[:, None], keys, record)
        told, pointed = chatbot.pointer.point(seen, hidden[:, None], targets[:, None])
        log_p = chatbot.logits(told[:, 0]).log_softmax(1).gather(1, targets[:, None])
        nats = -(pointed.log_gate + torch.logaddexp(log_p, pointed.odds)).sum()
    gradients = iter(torch.autograd.grad(-nats, offsets, allow_unused=True, materialize_grads=True))
    sums = [[float((next(gradients) * other).sum()) for other in own] for own in products]
    return [own[0] for own in sums], [sum(own[1:]) for own in sums]


@settings(max_examples=40, deadline=None)
@given(chatbots, histories, messages)
def test_by_gradient_is_autograds(
    chatbot: Chatbot, turns: list[np.ndarray], reply: np.ndarray
) -> None:
    found = [of(chatbot, turns, reply, chatbot.initial_state(1)) for of in (by_gradient, by_state)]
    for ours, expected in zip(found, autograds(chatbot, turns, reply), strict=True):
        same(ours, torch.tensor(expected, dtype=torch.float64))
    assert all(parameter.grad is None for parameter in chatbot.parameters())


@every_chatbot
def test_by_gradient_over_more_steps_than_are_run_at_once(memory: str) -> None:
    chatbot = make(memory, "gru")
    turns = [message(1, [4 + n % 30 for n in range(300)]), message(2, [7])]
    state = chatbot.initial_state(1)
    found = [of(chatbot, turns, message(2, [5]), state) for of in (by_gradient, by_state)]
    for ours, expected in zip(found, autograds(chatbot, turns, message(2, [5])), strict=True):
        same(ours, torch.tensor(expected, dtype=torch.float64))


@every_chatbot
def test_what_a_copy_is_worth(memory: str) -> None:
    """Of turns without a word in common, so that they can be hidden by their words."""
    chatbot = make(memory, "lstm")
    turns = [message(1 + n % 2, list(range(4 + 3 * n, 7 + 3 * n))) for n in range(6)]
    state = chatbot.initial_state(1)
    for turn in turns:
        state = chatbot.read(turn, state)
    reply = message(2, [8, 21, 20, 5])
    found = by_hiding(chatbot, turns, reply, state)
    layers, record = chatbot.split(state)
    if not record:
        assert found.tolist() == [0.0] * len(turns)
        return
    whole = chatbot.costs_of([reply], state)
    for turn, gain in zip(turns, found, strict=True):
        text = torch.from_numpy(turn[1:-1].astype(np.float64))
        blind = record[0].masked_fill(torch.isin(record[0], text), 0)
        same(gain, (chatbot.costs_of([reply], (*layers, blind, *record[1:])) - whole)[0])
    reached = chatbot.pointer is not None and chatbot.pointer.length >= sum(map(len, turns))
    assert (found != 0).all() == reached  # nothing of what was said longer ago can be copied
    assert found[-1] != 0


@every_chatbot
def test_messages_count_from_the_first_turn(memory: str, tmp_path: Any) -> None:
    chatbot = make(memory, "lstm")
    bot = NetworkBot.of(chatbot, Tokenizer.train([], 260), {}, tmp_path)
    turns = [message(1 + n % 2, [4 + n]) for n in range(5)]
    reply = message(ROLES["bot"], [9, 9])
    found = attribute(bot, turns, reply, linear=True)
    assert [each.message for each in found] == [0, 1, 2, 3, 4]
    assert found[3].to_json() == {
        "message": 3,
        "nats": found[3].nats,
        "gradient": found[3].gradient,
        "linear": found[3].linear,
        "copied": found[3].copied,
    }
    last = attribute(bot, turns, reply, max_messages=2, linear=True)
    assert attribute(bot, turns, reply)[0].linear is None
    for ours, theirs in zip(last, found[3:], strict=True):
        assert ours.message == theirs.message
        assert ours.nats == pytest.approx(theirs.nats, abs=1e-10)
        assert ours.gradient == pytest.approx(theirs.gradient, abs=1e-10)
        assert ours.linear == pytest.approx(theirs.linear, abs=1e-10)
        assert ours.copied == pytest.approx(theirs.copied, abs=1e-10)
    assert attribute(bot, [], reply) == []


@pytest.mark.parametrize("memory", MEMORIES)  # a pointer reaches the words themselves
def test_what_cannot_reach_the_reply_weighs_nothing(memory: str) -> None:
    """With a cell that neither hears nor remembers, nothing of the first turn comes through."""
    chatbot = make(memory, "rnn")
    with torch.no_grad():
        for name, parameter in chatbot.through_time.named_parameters():
            if "weight_ih" in name or "weight_hh" in name:
                parameter.zero_()
    turns = [message(1, [4]), message(2, [5])]
    state = chatbot.initial_state(1)
    nats = left_out(chatbot, turns, message(2, [6]), state)
    # The messages memory hands the last turn's vector past the cell.
    assert float(nats[1]) == pytest.approx(float(nats[0]), abs=1e-12)
    for of in (by_gradient, by_state):
        assert float(of(chatbot, turns, message(2, [6]), state)[0]) == 0


def test_an_attribution_is_a_value() -> None:
    assert Attribution(1, 0.5, 0.25, 0.4).to_json() == {
        "message": 1,
        "nats": 0.5,
        "gradient": 0.25,
        "linear": 0.4,
        "copied": 0.0,
    }
