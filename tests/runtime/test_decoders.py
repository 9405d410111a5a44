"""Every implementation without torch gives what torch gives, however the messages are laid out."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.bptt import CELLS
from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.network import NetworkDecoder, load_network_bot
from elman.model import Chatbot, ModelConfig, build
from elman.native.library import load
from elman.runtime.compiled import CompiledDecoder
from elman.runtime.decoder import ArrayDecoder, ArrayState
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights, load_weights
from tests.instruction_sets import instruction_set

VOCABULARY = 270
WORDS = 16  # so few that a pointer and counts find most of what comes next
LIMIT = 2e-5
"""How far logits may be apart: both sum in float32, in another order."""


def config(memory: str = "tokens", cell: str = "lstm", **sizes: object) -> ModelConfig:
    given = {"layers": 2, "hidden_size": 21, "mlp": 1.5, "pointer": 9, "ngrams": 3}
    return ModelConfig.model_validate(
        {"memory": memory, "cell": cell, "max_message_tokens": 5, **given, **sizes}
    )


def message(draw: np.random.Generator, longest: int = 12) -> np.ndarray:
    role = draw.integers(1, 3)
    return np.array([role, *draw.integers(4, WORDS, draw.integers(1, longest)), END], np.uint16)


def made(config: ModelConfig) -> Chatbot:
    """Make a chatbot in which nothing is zero, where a mistake would not show."""
    torch.manual_seed(0)
    chatbot = build(config, VOCABULARY).eval()
    for parameter in chatbot.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    draw = np.random.default_rng(0)
    ids = np.concatenate([message(draw) for _ in range(60)])
    chatbot.count(ids, ids >= 4)
    return chatbot


def weights_of(config: ModelConfig, chatbot: Chatbot) -> Weights:
    arrays = {name: tensor.numpy() for name, tensor in chatbot.state_dict().items()}
    return Weights(config, VOCABULARY, arrays).checked("here")


LIBRARY = load()[0]
IMPLEMENTATIONS: dict[str, Callable[[Weights], ArrayDecoder]] = {
    "numpy": ReferenceDecoder,
    **dict.fromkeys(() if LIBRARY is None else LIBRARY.sets, CompiledDecoder),
}

CONFIGS = {
    **{f"{m}-{c}": config(m, c) for m in ("tokens", "messages") for c in CELLS},
    **{f"{m}-plain": config(m, mlp=0, pointer=0, ngrams=0) for m in ("tokens", "messages")},
    **{f"{m}-short": config(m, pointer=1, ngrams=1) for m in ("tokens", "messages")},
    **{f"{m}-long": config(m, pointer=40, ngrams=4, layers=3) for m in ("tokens", "messages")},
    "tokens-uncounted": config(ngrams=0),
    "messages-mixed": config("messages", encoder_cell="gru", decoder_cell="mingru"),
}


@dataclass(frozen=True)
class Pair:
    ours: ArrayDecoder
    theirs: NetworkDecoder
    chatbot: Chatbot


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def implementation(
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[Weights], ArrayDecoder]]:
    """Numpy, and the library with each instruction set."""
    with nullcontext() if request.param == "numpy" else instruction_set(request.param):
        yield IMPLEMENTATIONS[request.param]


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request: pytest.FixtureRequest, implementation: Callable[[Weights], ArrayDecoder]) -> Pair:
    own = CONFIGS[request.param]
    chatbot = made(own)
    return Pair(implementation(weights_of(own, chatbot)), NetworkDecoder(chatbot), chatbot)


def to_torch(state: ArrayState) -> tuple[torch.Tensor, ...]:
    return tuple(map(torch.from_numpy, state))


def assert_same(ours: ArrayState, theirs: tuple[torch.Tensor, ...]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert own.dtype == np.float32
        np.testing.assert_allclose(own, other.numpy(), rtol=0, atol=LIMIT)


def test_a_state_is_torch_s_number_by_number(pair: Pair) -> None:
    spec = pair.chatbot.state_spec
    assert [(part.name, part.size, "float32") for part in spec] == pair.ours.state_spec
    assert all(part.dtype == torch.float32 for part in spec)
    draw = np.random.default_rng(1)
    state = pair.ours.read([[message(draw)] for _ in range(3)], pair.ours.initial_state(3))
    np.testing.assert_array_equal(pair.ours.vectors(state), pair.theirs.vectors(to_torch(state)))


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    longest=st.integers(2, 30),
)
def test_ragged_rows_are_read_and_scored_alike(
    pair: Pair, seed: int, counts: list[int], longest: int
) -> None:
    draw = np.random.default_rng(seed)
    first, rows = ([[message(draw, longest) for _ in range(n)] for n in counts] for _ in range(2))
    read = pair.ours.read(first, pair.ours.initial_state(len(counts)))
    assert_same(read, pair.theirs.read(first, pair.theirs.initial_state(len(counts))))
    before = [array.copy() for array in read]
    nats, after = pair.ours.score(rows, read)
    expected, expected_after = pair.theirs.score(rows, to_torch(read))
    for own, other in zip(nats, expected, strict=True):
        assert own.dtype == np.float64
        np.testing.assert_allclose(own, other, rtol=2e-5, atol=LIMIT)
    assert_same(after, expected_after)
    for array, copy in zip(read, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    costs = pair.ours.costs([own[0] for own in rows], read)
    np.testing.assert_allclose(costs, [own[0] for own in expected], rtol=2e-5, atol=LIMIT)
    assert pair.ours.copies == pair.theirs.copies
    messages = [own[0] for own in rows]
    costs = pair.ours.costs_without_copies(messages, read)
    plain = pair.theirs.costs_without_copies(messages, to_torch(read))
    np.testing.assert_allclose(costs, plain, rtol=2e-5, atol=LIMIT)


def test_a_reply_is_said_alike(pair: Pair) -> None:
    draw = np.random.default_rng(2)
    rows = [[message(draw)], [message(draw), message(draw)], [message(draw, 30)]]
    state = pair.ours.read(rows, pair.ours.initial_state(3))
    logits, state = pair.ours.begin_reply(state)
    expected, other = pair.theirs.begin_reply(pair.theirs.read(rows, pair.theirs.initial_state(3)))
    for step in range(12):
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=0, atol=5 * LIMIT, err_msg=str(step))
        assert_same(state, other)
        tokens = draw.integers(4, WORDS, 3)
        logits, state = pair.ours.step(tokens, state)
        # Each goes on from what the other has made: states are exchanged.
        expected, other = pair.theirs.step(tokens, other)
        if step == 5:
            state, other = tuple(tensor.numpy() for tensor in other), to_torch(state)
    assert_same(pair.ours.end_message(state), pair.theirs.end_message(other))


def test_saying_is_reading(pair: Pair) -> None:
    draw = np.random.default_rng(3)
    said = [message(draw, 20)[1:] for _ in range(2)]
    shortest = min(map(len, said)) - 1
    rows = np.array([[ROLES["bot"], *own[:shortest], END] for own in said])
    begun = pair.ours.read([[message(draw)], [message(draw)]], pair.ours.initial_state(2))
    _, state = pair.ours.begin_reply(begun)
    for column in rows[:, 1:-1].T:
        _, state = pair.ours.step(column, state)
    read = pair.ours.read([[own] for own in rows], begun)
    for one, other in zip(pair.ours.end_message(state), read, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=LIMIT)


def test_rows_are_independent_of_one_another(pair: Pair) -> None:
    draw = np.random.default_rng(4)
    rows = [[message(draw, n)] for n in (20, 3, 9, 2)]
    together = pair.ours.read(rows, pair.ours.initial_state(4))
    for row, own in enumerate(rows):
        alone = pair.ours.read([own], pair.ours.initial_state(1))
        for one, other in zip(alone, pair.ours.select(together, [row]), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=LIMIT)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.split("-")[1] in CELLS])
def test_int8_says_about_the_same(
    implementation: Callable[[Weights], ArrayDecoder], name: str
) -> None:
    """Half a step of 1 in 127 is lost of weights, and of what they are multiplied with."""
    if implementation is ReferenceDecoder:
        pytest.skip("numpy has no rounded weights")
    chatbot = made(CONFIGS[name])
    weights = weights_of(CONFIGS[name], chatbot)
    exact, rounded = ReferenceDecoder(weights), CompiledDecoder(weights, "int8")
    draw = np.random.default_rng(5)
    rows = [[message(draw, longest)] for longest in (3, 9, 30, 6, 12, 2)]
    nats, _ = exact.score(rows, exact.initial_state(len(rows)))
    ours, state = rounded.score(rows, rounded.initial_state(len(rows)))
    assert all(np.isfinite(array).all() for array in state)
    # In nats; of other weights the messages' costs are apart by several.
    apart = np.abs(np.concatenate(nats) - np.concatenate(ours))
    lengths = np.array([len(own[0]) for own in rows])
    assert (apart < 0.06 * lengths).all()


def test_weights_that_do_not_fit_are_refused() -> None:
    own = config()
    weights = weights_of(own, made(own))
    arrays = dict(weights.arrays)

    def refused(**changed: np.ndarray) -> str:
        with pytest.raises(ElmanError) as raised:
            ReferenceDecoder(replace(weights, stored={**arrays, **changed}).checked("here"))
        return str(raised.value)

    bias = arrays["output_bias"]
    assert "'output_bias' is" in refused(output_bias=bias[:-1])
    assert "'more' has no place" in refused(more=bias)
    assert "NaN or infinity" in refused(output_bias=np.full_like(bias, np.nan))
    table = "ngrams.layers.1"
    for part, wrong in {
        "begins": arrays[f"{table}.begins"][::-1].copy(),
        "words": arrays[f"{table}.words"] + 300,
        "counts": arrays[f"{table}.counts"] * 0,
        "totals": arrays[f"{table}.totals"][:-1],
    }.items():
        assert f"{table} is no table of counts" in refused(**{f"{table}.{part}": wrong})
    del arrays["output_bias"]
    assert "'output_bias' is missing" in refused()


def test_the_folder_of_a_bot_is_loaded_without_torch() -> None:
    code = """
import sys
from elman.runtime.weights import load_weights
assert load_weights("base").arrays["embedding.weight"].ndim == 2
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_base_says_what_it_says_in_torch() -> None:
    ours, bot = ReferenceDecoder(load_weights("base")), load_network_bot("base")
    theirs, tokenizer = NetworkDecoder(bot.chatbot), bot.tokenizer
    text = tokenizer.encode("hello, my name is Ann. how are you today?")
    rows = [[np.array([ROLES["user"], *text, END])]]
    logits, state = ours.begin_reply(ours.read(rows, ours.initial_state(1)))
    expected, other = theirs.begin_reply(theirs.read(rows, theirs.initial_state(1)))
    for _ in range(30):
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
        token = logits[:, 4:].argmax(1) + 4
        logits, state = ours.step(token, state)
        expected, other = theirs.step(token, other)
