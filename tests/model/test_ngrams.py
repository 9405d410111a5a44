"""What was counted, against its definition: plain dictionaries, one occurrence after another."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from elman.bptt import Full
from elman.data.conversation import Role
from elman.data.corpus import scored
from elman.data.message_stream import MessageWindow, RowWindow
from elman.data.tokenizer import END, ROLES, SPECIALS, Tokenizer
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.model import Chatbot, ModelConfig, build
from elman.model.checkpoint import save_weights
from elman.model.config import LONGEST_NGRAM
from elman.model.counts import context_keys
from elman.model.folder import CONFIG, FORMAT, TOKENIZER
from elman.model.ngrams import NGrams

V, H = SPECIALS + 4, 3
LETTERS = SPECIALS + 256

Counts = dict[tuple[int, ...], Counter[int]]

# A few words, so that much is seen again; in messages of either role.
words = st.lists(st.integers(SPECIALS, V - 1), min_size=1, max_size=8)
ROLE: list[Role] = ["user", "bot"]
messages = st.lists(st.tuples(st.sampled_from(ROLE), words), min_size=1, max_size=12)


def tokens(said: Sequence[tuple[Role, list[int]]]) -> np.ndarray:
    parts = [[ROLES[role], *text, END] for role, text in said]
    return np.array([token for part in parts for token in part], np.uint16)


def context(ids: np.ndarray, place: int, n: int) -> tuple[int, ...]:
    """The tokens that an n-gram which ends at a place begins with, as far as its message goes."""
    found: list[int] = []
    while len(found) < n - 1 and ids[place - 1 - len(found)] >= SPECIALS:
        found.insert(0, int(ids[place - 1 - len(found)]))
    return tuple(found)


def orders(ids: np.ndarray, counted: np.ndarray, longest: int) -> list[Counts]:
    found: list[Counts] = [defaultdict(Counter) for _ in range(longest)]
    for place in np.flatnonzero(counted):
        for n in range(1, longest + 1):
            found[n - 1][context(ids, int(place), n)][int(ids[place])] += 1
    return found


def by_definition(made: NGrams, counts: list[Counts], before: list[tuple[int, ...]], y: int) -> Any:
    """p_N, of the counts, with the discounts and the least counts of what was made."""
    p = 1 / V
    for order, table, h in zip(made.orders, counts, before, strict=True):
        of_h = table.get(h, Counter())
        if not of_h.total():
            continue
        discount, least = float(order.discount), int(order.least)
        kept = {word: n for word, n in of_h.items() if n >= least}
        if not kept and not len(order.contexts[order.contexts == key_of(h)]):
            continue  # nothing that is kept was seen after it
        left = of_h.total() - sum(n - discount for n in kept.values())
        p = (max(0, kept.get(y, 0) - discount) + left * p) / of_h.total()
    return p


def key_of(h: tuple[int, ...]) -> int:
    return sum(token << 16 * back for back, token in enumerate(reversed(h)))


@settings(max_examples=60, deadline=None)
@given(messages, st.integers(1, LONGEST_NGRAM), st.sampled_from(["all", "bot"]), st.integers(4, 60))
def test_probabilities(
    said: list[tuple[Role, list[int]]], longest: int, learn_from: str, most: int
) -> None:
    ids = tokens(said)
    counted = scored(ids, learn_from)
    made = NGrams(H, V, longest)
    made.count(ids, counted, most)
    counts = orders(ids, counted, longest)
    key = context_keys(torch.from_numpy(ids.astype(np.int64)))
    every = made.distribution(key)
    assert sum(len(order.words) for order in made.orders) <= most
    torch.testing.assert_close(every.sum(1), torch.ones(len(ids)).double(), rtol=0, atol=1e-12)
    for y in [*range(SPECIALS, V), END]:
        found = made.probability(key, torch.full_like(key, y), leave_out=False)
        torch.testing.assert_close(found, every[:, y], rtol=1e-12, atol=0)
        for place in range(1, len(ids)):
            before = [context(ids, place, n) for n in range(1, longest + 1)]
            expected = by_definition(made, counts, before, y)
            assert found[place - 1].item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(messages, st.integers(1, LONGEST_NGRAM), st.integers(4, 60))
def test_what_is_left_out_was_never_counted(
    said: list[tuple[Role, list[int]]], longest: int, most: int
) -> None:
    ids = tokens(said)
    counted = scored(ids, "all")
    made = NGrams(H, V, longest)
    made.count(ids, counted, most)
    key = context_keys(torch.from_numpy(ids.astype(np.int64)))
    places = np.flatnonzero(counted)
    targets = torch.from_numpy(ids[places].astype(np.int64))
    found = made.probability(key[places - 1], targets, leave_out=True)
    for place, p in zip(places.tolist(), found.tolist(), strict=True):
        without = counted.copy()
        without[place] = False
        before = [context(ids, place, n) for n in range(1, longest + 1)]
        expected = by_definition(made, orders(ids, without, longest), before, int(ids[place]))
        assert p == pytest.approx(expected, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(messages, messages, st.integers(1, LONGEST_NGRAM), st.integers(4, 60))
def test_what_was_never_counted_is_learned_from_as_well(
    said: list[tuple[Role, list[int]]], more: list[tuple[Role, list[int]]], longest: int, most: int
) -> None:
    ids, beyond = tokens(said), tokens(more)
    made = NGrams(H, V, longest)
    made.count(ids, scored(ids, "all"), most)
    key = context_keys(torch.from_numpy(beyond.astype(np.int64)))
    for y in [*range(SPECIALS, V), END]:
        p = made.probability(key, torch.full_like(key, y), leave_out=True)
        assert ((p >= 0) & (p <= 1 + 1e-12)).all()


def test_nothing_counted_says_nothing() -> None:
    made = NGrams(H, V, 3)
    key = torch.tensor([0, 5, (6 << 16) + 5])
    torch.testing.assert_close(made.distribution(key), torch.full((3, V), 1 / V).double())
    for leave_out in (False, True):
        p = made.probability(key, torch.tensor([5, 6, END]), leave_out)
        torch.testing.assert_close(p, torch.full((3,), 1 / V).double())


def talk() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 7, 12)
    roles = [ROLES["user"], ROLES["bot"]]
    return [
        np.array([roles[n % 2], *draw.integers(SPECIALS, SPECIALS + 5, size), END], np.uint16)
        for n, size in enumerate(sizes)
    ]


def chatbot(memory: str = "tokens", ngrams: int = 3, tables: bool = True) -> Chatbot:
    torch.manual_seed(0)
    sizes = {"memory": memory, "hidden_size": 8, "pointer": 16, "ngrams": ngrams}
    made = build(ModelConfig.model_validate(sizes), LETTERS).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids = np.concatenate(talk())
    if tables:
        made.count(ids, scored(ids, "all"))
    return made


@torch.no_grad()
@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_what_is_said_is_what_is_scored(memory: str) -> None:
    """Step by step the whole mixture; together only what was said of it."""
    made = chatbot(memory)
    (nats,), _ = made.score([talk()], made.initial_state(1))
    state = made.initial_state(1)
    for message, expected in zip(talk(), nats.tolist(), strict=True):
        if message[0] == ROLES["bot"]:
            logits, saying = made.begin_reply(state)
            cost = 0.0
            for token in message[1:].tolist():
                p = logits.log_softmax(1)
                torch.testing.assert_close(logits, p, rtol=0, atol=1e-5)  # they are log p already
                cost -= float(p[0, token])
                logits, saying = made.step(torch.tensor([token]), saying)
            assert cost == pytest.approx(expected, rel=1e-5)  # logits are float32
        state = made.read(message, state)


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_the_loss_is_of_the_mixture_and_the_net_learns_as_if_alone(memory: str) -> None:
    made = chatbot(memory)
    window = MessageWindow([RowWindow(talk(), [True] * len(talk()), carry=4, fresh=True)])
    mixed = made.loss(window, None, Full()).nats
    score = made.score([talk()], made.initial_state(1))[0][0].sum()
    torch.testing.assert_close(mixed.detach(), score, rtol=1e-12, atol=0)
    names, weights = zip(*made.named_parameters(), strict=True)
    found = dict(zip(names, torch.autograd.grad(mixed, weights, allow_unused=True), strict=True))
    made.ngrams = None
    alone = made.loss(window, None, Full()).nats
    own = [n for n in names if not n.startswith("ngrams.")]
    assert len(names) - len(own) == 2
    expected = torch.autograd.grad(alone, [made.get_parameter(n) for n in own], allow_unused=True)
    for name, gradient in zip(own, expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-15)
    assert float(mixed.detach()) != pytest.approx(float(alone.detach()))


def test_the_gate_s_cost_and_gradient() -> None:
    made = chatbot().ngrams
    assert made is not None
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 8, generator=draw, dtype=torch.float64)
    targets = torch.tensor([SPECIALS, SPECIALS + 1, SPECIALS + 2, END, SPECIALS])
    key = torch.tensor([0, SPECIALS, SPECIALS + 1, SPECIALS + 4, LETTERS - 1])
    nats = torch.rand(5, generator=draw, dtype=torch.float64)
    q = made.probability(key, targets, leave_out=False).tolist()
    z = torch.sigmoid(made.gate(hidden)).squeeze(1).tolist()
    expected = [-log((1 - s) * exp(-n) + s * p) for s, n, p in zip(z, nats, q, strict=True)]
    found = made.costs(hidden, targets, key, nats)
    torch.testing.assert_close(found.tolist(), expected)

    def cost(weight: Tensor, bias: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(
            made, {"gate.weight": weight, "gate.bias": bias}
        ):
            return made.costs(hidden, targets, key, nats)

    assert torch.autograd.gradcheck(cost, (made.gate.weight, made.gate.bias))
    made.train()  # then each of the targets is one of those that were counted
    p = made.probability(key, targets, leave_out=True)
    assert not torch.equal(p, made.probability(key, targets, leave_out=False))
    learned = made.costs(hidden, targets, key, nats)
    torch.testing.assert_close(
        learned, -torch.log((1 - torch.tensor(z)) * (-nats).exp() + torch.tensor(z) * p)
    )


def folder(path: Path, made: Chatbot) -> Path:
    import json

    path.mkdir()
    tokenizer = Tokenizer.train(["nothing but letters"], LETTERS)
    model = {"hidden_size": 8, "pointer": 16, "ngrams": 3}
    config = {"format": FORMAT, "model": model, "data": {}}
    (path / CONFIG).write_text(json.dumps(config))
    (path / TOKENIZER).write_text(tokenizer.to_json())
    save_weights(path, made, tokenizer)
    return path


def test_counts_are_kept_with_the_weights(tmp_path: Path) -> None:
    made = chatbot().float()
    loaded = load_network_bot(folder(tmp_path / "bot", made)).chatbot
    for name, tensor in made.state_dict().items():
        other = loaded.state_dict()[name]
        assert other.dtype == tensor.dtype
        torch.testing.assert_close(other, tensor, rtol=0, atol=0)
    expected = made.score([talk()], made.initial_state(1))[0][0]
    torch.testing.assert_close(loaded.score([talk()], loaded.initial_state(1))[0][0], expected)
    other = chatbot(tables=False).float()
    other.begin_from(loaded)
    torch.testing.assert_close(other.score([talk()], other.initial_state(1))[0][0], expected)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("contexts", lambda each: each.flip(0)),
        ("begins", lambda each: each + 1),
        ("begins", lambda each: each[:-1]),
        ("totals", lambda each: each[1:]),
        ("totals", torch.zeros_like),
        ("words", lambda each: torch.full_like(each, LETTERS)),
        ("words", lambda each: each[1:]),
        ("counts", lambda each: each[:-1]),
        ("discount", lambda each: torch.cat([each, each])),
        ("least", lambda each: each.view(1, 1)),
        ("words", Tensor.float),
        ("contexts", Tensor.double),
        ("contexts", lambda each: each[:0]),
        ("begins", lambda each: each[:0]),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, name: str, damage: Any) -> None:
    made = chatbot().float()
    assert made.ngrams is not None
    order = made.ngrams.orders[1]
    order.register_buffer(name, damage(getattr(order, name)))
    with pytest.raises(ElmanError, match=r"no table of counts|size mismatch for ngrams"):
        load_network_bot(folder(tmp_path / "bot", made))


def test_a_pointer_s_record_must_reach_as_far() -> None:
    with pytest.raises(ValidationError, match="ngrams needs a pointer of at least as many tokens"):
        ModelConfig(pointer=2, ngrams=3)


@pytest.mark.parametrize("longest", [1, 2, 4])
@pytest.mark.parametrize("vocabulary", [3, 12, 60])
def test_what_is_subtracted_was_never_counted(longest: int, vocabulary: int) -> None:
    draw = np.random.default_rng([longest, vocabulary])

    def messages(count: int) -> np.ndarray:
        said = [draw.integers(4, 4 + vocabulary, draw.integers(1, 12)) for _ in range(count)]
        roles = draw.integers(1, 3, count)
        every = [n for role, text in zip(roles, said, strict=True) for n in (role, *text, 0)]
        return np.array(every, np.uint16)

    stays, goes = messages(60), messages(9)
    both, rest = NGrams(8, 80, longest), NGrams(8, 80, longest)
    both.count(np.concatenate([stays, goes]), scored(np.concatenate([stays, goes]), "bot"))
    both.subtract(goes, scored(goes, "bot"))
    rest.count(stays, scored(stays, "bot"))
    expected = rest.layers.state_dict()
    for name, found in both.layers.state_dict().items():
        assert found.dtype == expected[name].dtype
        assert found.numpy().tobytes() == expected[name].numpy().tobytes(), name


def test_what_was_not_counted_cannot_be_subtracted() -> None:
    counts = NGrams(8, 80, 2)
    said = np.array([2, 10, 11, 12, 0], np.uint16)
    counts.count(said, scored(said, "bot"))
    before = {name: each.clone() for name, each in counts.layers.state_dict().items()}
    with pytest.raises(ValueError, match="not counted"):
        counts.subtract(np.tile(said, 2), scored(np.tile(said, 2), "bot"))
    rare = NGrams(8, 80, 2)
    rare.count(np.tile(said, 3), scored(np.tile(said, 3), "bot"), most=1)
    with pytest.raises(ValueError, match="left out"):
        rare.subtract(said, scored(said, "bot"))
    for name, each in counts.layers.state_dict().items():
        assert each.equal(before[name])
