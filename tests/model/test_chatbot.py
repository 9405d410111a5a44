"""Every memory keeps the contract: however a conversation is read, it is read alike."""

import numpy as np
import pytest
import torch

from elman.bptt import CELLS, Full
from elman.data.corpus import Corpus, scored
from elman.data.layout import Layout
from elman.data.stream import Stream
from elman.data.tokenizer import END, ROLES
from elman.generate import scoring
from elman.generate.network import NetworkDecoder
from elman.generate.scoring import by_length, message_nats, walk
from elman.model import MEMORIES, Chatbot, ModelConfig, build

VOCABULARY = 270
WORDS = 24  # so few that a pointer finds most of what comes next


def make(memory: str = "tokens", cell: str = "lstm", mlp: float = 0.0, pointer: int = 0) -> Chatbot:
    torch.manual_seed(0)
    sizes = {"layers": 2, "hidden_size": 8, "mlp": mlp, "pointer": pointer}
    config = ModelConfig.model_validate({"memory": memory, "cell": cell, **sizes})
    chatbot = build(config, VOCABULARY).double().eval()
    for parameter in chatbot.parameters():  # none at zero, where a mistake would not show
        torch.nn.init.normal_(parameter, std=0.3)
    return chatbot


def conversation(seed: int, messages: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    roles = list(ROLES.values())[:2]
    return [
        np.array([roles[n % 2], *draw.integers(4, WORDS, draw.integers(1, 7)), END], np.uint16)
        for n in range(messages)
    ]


def corpus(lengths: list[int]) -> Corpus:
    whole = [np.concatenate(conversation(seed, n)) for seed, n in enumerate(lengths)]
    starts = np.cumsum([0, *map(len, whole)])
    return Corpus(np.concatenate(whole), starts)


def assert_equal_states(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> None:
    # Products of other shapes sum in another order: a few units in the last place of float64.
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


KINDS = [(memory, cell, 0.0) for memory in MEMORIES for cell in CELLS]


@pytest.fixture(
    params=[
        *KINDS,
        *((memory, "lstm", 1.5) for memory in MEMORIES),
        *((memory, "lstm", 0.0, pointer) for memory in MEMORIES for pointer in (1, 6, 100)),
    ],
    ids=lambda kind: "-".join(map(str, kind)),
)
def chatbot(request: pytest.FixtureRequest) -> Chatbot:
    return make(*request.param)


def initial(chatbot: Chatbot, rows: int) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.double() for tensor in chatbot.initial_state(rows))


def test_state_spec_is_the_state(chatbot: Chatbot) -> None:
    state = chatbot.initial_state(3)
    after = chatbot.read(conversation(0, 1)[0], tuple(t[:1].double() for t in state))
    assert [tuple(t.shape) for t in after] == [(1, spec.size) for spec in chatbot.state_spec]
    assert [t.dtype for t in state] == [spec.dtype for spec in chatbot.state_spec]
    assert len({spec.name for spec in chatbot.state_spec}) == len(state)


def test_message_by_message_equals_at_once(chatbot: Chatbot) -> None:
    messages = conversation(1, 5)
    (nats,), at_once = chatbot.score([messages], initial(chatbot, 1))
    state = initial(chatbot, 1)
    for message, expected in zip(messages, nats, strict=True):
        ((cost,),), state = chatbot.score([[message]], state)
        assert cost.item() == pytest.approx(expected.item(), rel=1e-12)
    assert_equal_states(state, at_once)


def test_rows_do_not_touch_each_other(chatbot: Chatbot) -> None:
    rows = [conversation(seed, messages) for seed, messages in enumerate((3, 1, 6, 3))]
    together, states = chatbot.score(rows, initial(chatbot, 4))
    for number, row in enumerate(rows):
        (alone,), state = chatbot.score([row], initial(chatbot, 1))
        torch.testing.assert_close(together[number], alone, rtol=1e-12, atol=1e-12)
        assert_equal_states(tuple(tensor[number : number + 1] for tensor in states), state)


def test_saying_a_reply_equals_reading_it(chatbot: Chatbot) -> None:
    asked, answer = conversation(2, 2)
    before = chatbot.read(asked, initial(chatbot, 1))
    ((cost,),), expected = chatbot.score([[answer]], before)
    with torch.no_grad():
        logits, state = chatbot.begin_reply(before)
        total = torch.zeros((), dtype=torch.float64)
        for token in answer[1:].tolist():
            # The logits are float32, whatever the weights are.
            total -= logits.double().log_softmax(1)[0, token]
            if token != END:
                logits, state = chatbot.step(torch.tensor([token]), state)
        state = chatbot.end_message(state)
    assert total.item() == pytest.approx(cost.item(), rel=1e-6)
    assert_equal_states(state, expected)


@pytest.mark.parametrize("windows", [1, 3, None])
@pytest.mark.parametrize("pointer", [0, 1, 6, 100])
def test_training_loss_equals_score(windows: int | None, pointer: int) -> None:
    """What is learned is what is measured: windows, carried states and resets included."""
    chatbot = make(pointer=pointer)
    data = corpus([4, 7, 2, 5])
    steps = len(data.ids) - len(data)  # one epoch of one row: the last token is never an input
    windows = windows or steps
    assert steps % windows == 0, "the corpus must fill the windows, or the epochs would mix"
    stream = Stream(data, Layout(1, steps // windows, "steps", learn_from="bot", seed=3))
    total, tokens, state = 0.0, 0, initial(chatbot, 1)
    with torch.no_grad():
        for _ in range(windows):
            loss = chatbot.loss(stream.next(), state, Full())
            total, tokens, state = total + loss.nats.item(), tokens + len(loss.targets), loss.state
    expected, counted = 0.0, 0
    for messages, (costs,) in (
        (messages, chatbot.score([messages], initial(chatbot, 1))[0])
        for messages in map(data.messages, range(len(data)))
    ):
        of_bot = [bool(scored(message, "bot").any()) for message in messages]
        expected += float(costs[of_bot].sum())
        counted += sum(
            len(message) - 1 for message, own in zip(messages, of_bot, strict=True) if own
        )
    assert tokens == counted > 0
    assert total == pytest.approx(expected, rel=1e-12)


def test_message_nats_cover_the_corpus() -> None:
    chatbot = make().float()
    data = corpus([4, 7, 2, 5])
    found = {
        index: (messages, costs)
        for index, messages, costs in message_nats(NetworkDecoder(chatbot), data, 3)
    }
    assert sorted(found) == list(range(len(data)))
    for index, (messages, costs) in found.items():
        assert np.array_equal(np.concatenate(messages), data[index])
        assert costs.shape == (len(messages),)
        assert (costs > 0).all()


def test_how_many_are_read_side_by_side_changes_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    chatbot, held_out = make(), corpus([5, 1, 9, 3, 2, 7])
    whole = {index: costs for index, _, costs in message_nats(NetworkDecoder(chatbot), held_out)}
    longest = int(np.diff(held_out.starts).max())
    monkeypatch.setattr(scoring, "MAX_GROUP_TOKENS", 2 * longest)
    groups = list(by_length(np.diff(held_out.starts)))
    assert sorted(index for group in groups for index in group) == list(range(6))
    assert len(groups) > 2
    for group in groups:
        lengths = np.diff(held_out.starts)[group]
        assert len(group) * lengths.max() <= 2 * longest
    monkeypatch.setattr(scoring, "MAX_GROUP_TOKENS", 1)  # one at a time, whatever its length
    for index, _, costs in message_nats(NetworkDecoder(chatbot), held_out):
        np.testing.assert_allclose(costs, whole[index], rtol=1e-10)


@pytest.mark.parametrize("rows", [1, 2, 3, 20])
def test_each_conversation_goes_on_by_itself(chatbot: Chatbot, rows: int) -> None:
    data = corpus([4, 1, 7, 2, 5])
    expected = []
    for index in range(len(data)):
        state = chatbot.initial_state(1)
        for number, message in enumerate(data.messages(index)):
            expected.append((number, message.tolist(), state))
            state = chatbot.read(message, state)
    for step in walk(NetworkDecoder(chatbot), data, rows=rows):
        assert len(step.numbers) == len(step.messages) <= rows
        for row, (number, message) in enumerate(zip(step.numbers, step.messages, strict=True)):
            (place,) = (
                n for n, e in enumerate(expected) if e[0] == number and e[1] == message.tolist()
            )
            assert_equal_states(
                tuple(part[row : row + 1] for part in step.before), expected.pop(place)[2]
            )
    assert not expected


def test_carrying_a_message_into_all_rows_is_reading_it_in_each(
    chatbot: Chatbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.model.blocks.MAX_RUN_STEPS", 3)  # so that it takes several
    (message,) = conversation(3, 1)
    message = np.concatenate([message[:-1], message[1:-1], message[1:]])
    rows = chatbot.score([conversation(seed, 2) for seed in range(4)], chatbot.initial_state(4))[1]
    carried = chatbot.carry(message, rows)
    for row in range(4):
        own = tuple(part[row : row + 1] for part in rows)
        alone = chatbot.read(message, own)
        assert_equal_states(tuple(part[row : row + 1].detach() for part in carried), alone)
