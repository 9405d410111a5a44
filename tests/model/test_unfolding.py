"""How far back in messages a reply's gradient reaches, along the trainer's own way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import Full, RNNCell, State
from elman.data.corpus import Corpus
from elman.data.layout import Layout
from elman.data.message_stream import MessageWindow
from elman.data.tokenizer import END, ROLES
from elman.model import MEMORIES, Chatbot, MessagesChatbot, ModelConfig, build
from elman.model.packing import pack_sequences

MESSAGES = 11
VOCABULARY = 4 + 3 * MESSAGES


def conversation() -> Corpus:
    """Every message has tokens of its own, so that an embedding's gradient names the message."""
    roles = [ROLES["user"], ROLES["bot"]]
    tokens = [
        [roles[n % 2], *range(4 + 3 * n, 4 + 3 * n + 1 + n % 3), END] for n in range(MESSAGES)
    ]
    ids = np.array([token for message in tokens for token in message], np.uint16)
    return Corpus(ids, np.array([0, len(ids)]))


POINTERS = [f"{memory} with a pointer" for memory in MEMORIES]
KINDS = [*MEMORIES, *POINTERS]


def make(memory: str, cell: str = "lstm") -> Chatbot:
    torch.manual_seed(0)
    pointer = 8 if memory in POINTERS else 0
    memory = memory.split()[0]
    sizes = {"hidden_size": 6, "pointer": pointer}
    config = ModelConfig.model_validate({"memory": memory, "cell": cell, **sizes})
    chatbot = build(config, VOCABULARY)
    if isinstance(chatbot, MessagesChatbot):
        torch.nn.init.normal_(chatbot.context.weight)  # which begins at zero, and lets nothing pass
    return chatbot.double().train()


def untie(chatbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits from weights of their own: the embedding's gradient is then what was read alone."""
    output = torch.randn(VOCABULARY, 6, dtype=torch.float64)
    bias = torch.zeros(VOCABULARY, dtype=torch.float64)
    monkeypatch.setattr(type(chatbot), "output_layer", (output, bias))


def windows(chatbot: Chatbot, unfold: int, slide: bool) -> list[tuple[MessageWindow, State | None]]:
    """The windows of one epoch, each with the state that the trainer would carry into it."""
    batches: Any = chatbot.batches(conversation(), Layout(1, unfold, "messages", slide))
    found: list[tuple[MessageWindow, State | None]] = []
    state: State | None = None
    said = 0
    while said < MESSAGES:
        window = batches.next()
        found.append((window, state))
        state = chatbot.loss(window, state, Full()).state
        said += sum(window.rows[0].loss_mask)
    return found


def number_of(message: np.ndarray) -> int:
    return (int(message[1]) - 4) // 3


def reached(chatbot: Any, window: MessageWindow, state: State | None, position: int) -> set[int]:
    """Which earlier messages get any gradient from the loss of one message of a window."""
    (row,) = window.rows
    alone = replace(row, loss_mask=[n == position for n in range(len(row.messages))])
    chatbot.zero_grad()
    chatbot.loss(MessageWindow([alone]), state, Full()).nats.backward()
    rows = chatbot.embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    own = number_of(row.messages[position])
    return {(row - 4) // 3 for row in rows if row >= 4} - {own}


@pytest.mark.parametrize("memory", KINDS)
@pytest.mark.parametrize("unfold", [1, 2, 3, 5, MESSAGES])
@pytest.mark.parametrize("slide", [False, True])
def test_reach(memory: str, unfold: int, slide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    chatbot = make(memory)
    untie(chatbot, monkeypatch)
    lengths = []
    for window, state in windows(chatbot, unfold, slide):
        (row,) = window.rows
        start = number_of(row.messages[0])
        for position, counts in enumerate(row.loss_mask):
            if counts:
                number = number_of(row.messages[position])
                found = reached(chatbot, window, state, position)
                first = max(0, number - unfold) if slide else start
                assert found == set(range(first, number))
                lengths.append(len(found))
    assert max(lengths) == min(unfold, MESSAGES - 1)
    if not slide and unfold < MESSAGES:
        # The first message has nothing before it; then from one to K in each window.
        grows = [0, *(1 + n % unfold for n in range(MESSAGES - 1))]
        assert lengths == grows


@pytest.mark.parametrize("memory", KINDS)
@pytest.mark.parametrize("unfold", [1, 3])
@pytest.mark.parametrize("slide", [False, True])
def test_truncation_changes_no_loss(memory: str, unfold: int, slide: bool) -> None:
    chatbot = make(memory)
    total = sum(
        chatbot.loss(window, state, Full()).nats.item()
        for window, state in windows(chatbot, unfold, slide)
    )
    start = tuple(tensor.double() for tensor in chatbot.initial_state(1))
    (nats,), _ = chatbot.score([conversation().messages(0)], start)
    assert total == pytest.approx(float(nats.sum()), rel=1e-12)


@pytest.mark.parametrize("unfold", [MESSAGES - 1, MESSAGES + 7])
@pytest.mark.parametrize("memory", ["tokens", POINTERS[0]])
def test_a_long_unfolding_is_full_bptt(memory: str, unfold: int) -> None:
    """For the memory of tokens, against one window of single steps over the whole conversation."""
    chatbot = make(memory)
    ((window, state),) = windows(chatbot, unfold, slide=False)
    found = gradients(chatbot, chatbot.loss(window, state, Full()).nats)
    stream = chatbot.batches(conversation(), Layout(1, len(conversation().ids) - 1, "steps"))
    zeros = tuple(tensor.double() for tensor in chatbot.initial_state(1))
    expected = gradients(chatbot, chatbot.loss(stream.next(), zeros, Full()).nats)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("slide", [False, True])
def test_messages_equal_a_plain_loop(cell: str, slide: bool) -> None:
    """One message after another, without packing, against windows longer than the conversation."""
    chatbot = make("messages", cell)
    assert isinstance(chatbot, MessagesChatbot)
    losses = [
        chatbot.loss(window, state, Full()).nats
        for window, state in windows(chatbot, MESSAGES, slide)
    ]
    found = gradients(chatbot, torch.stack(losses).sum())
    expected = gradients(chatbot, plain_loss(chatbot))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10, msg=name)


def plain_loss(chatbot: MessagesChatbot) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    state = chatbot.conversation.initial_state(1)
    context = torch.zeros(1, 6, dtype=torch.float64)
    for message in conversation().messages(0):
        ids = torch.from_numpy(message.astype(np.int64)).unsqueeze(1)
        x = chatbot.embedding(ids)
        hidden, _ = chatbot.decoder(
            x[:-1] + chatbot.context(context), chatbot.decoder.initial_state(1)
        )
        total = total + F.cross_entropy(chatbot.logits(hidden[:, 0]), ids[1:, 0], reduction="sum")
        vector, _ = chatbot.encoder(x, chatbot.encoder.initial_state(1))
        output, state = chatbot.conversation(vector[-1:], state)
        context = output[0]
    return total


def gradients(chatbot: Chatbot, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*chatbot.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def test_five_messages_are_five_layers() -> None:
    """The conversation network over five messages is a feed-forward network of five layers."""
    chatbot = make("messages", "rnn")
    assert isinstance(chatbot, MessagesChatbot)
    vectors = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    state = tuple(tensor.double() for tensor in chatbot.initial_state(1))
    (contexts,), _ = chatbot.remember([vectors], state)
    weighing = torch.randn(5, 6, dtype=torch.float64)
    (block,) = chatbot.conversation.blocks
    assert isinstance(block.cell, RNNCell)
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    tied = [block.cell.get_parameter(name) for name in names]
    found = torch.autograd.grad((contexts[1:] * weighing).sum(), [vectors, *tied])

    layers = [[weight.detach().clone().requires_grad_() for weight in tied] for _ in range(5)]
    h = torch.zeros(6, dtype=torch.float64)
    outputs = []
    for vector, (w_ih, w_hh, b_ih, b_hh) in zip(vectors, layers, strict=True):
        h = torch.tanh(w_ih @ block.norm(vector) + b_ih + w_hh @ h + b_hh)
        outputs.append(chatbot.conversation.norm(vector + h))
    torch.testing.assert_close(contexts[1:], torch.stack(outputs), rtol=0, atol=1e-12)
    total = (torch.stack(outputs) * weighing).sum()
    of_input = torch.autograd.grad(total, vectors, retain_graph=True)[0]
    torch.testing.assert_close(found[0], of_input, rtol=0, atol=1e-12)
    for place, gradient in enumerate(found[1:]):
        of_layers = torch.autograd.grad(total, [own[place] for own in layers], retain_graph=True)
        torch.testing.assert_close(gradient, torch.stack(of_layers).sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pointer", [0, 3, 20])
def test_a_long_message_is_read_to_the_limit(pointer: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(memory="messages", hidden_size=6, max_message_tokens=5, pointer=pointer)
    chatbot = build(config, VOCABULARY).double().eval()
    start = tuple(tensor.double() for tensor in chatbot.initial_state(1))
    long = np.array([1, 10, 11, 12, 13, 14, 15, END])
    cut = np.array([1, 10, 11, 12, END])
    (whole,), after = chatbot.score([[long]], start)
    (_,), expected = chatbot.score([[cut]], start)
    record = 3 if pointer else 0  # which holds the words behind the limit, too
    own = len(after) - record
    for one, other in zip(after[:own], expected[:own], strict=True):
        assert torch.equal(one, other)
    assert float(whole[0]) > 0
    with torch.no_grad():  # said token by token, it is read to the same limit
        state = start
        for token in long[:-1].tolist():
            _, state = chatbot.step(torch.tensor([token]), state)
        state = chatbot.end_message(state)
    for one, other in zip(state, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [[1], [3, 1, 2], [200, 1, 1, 1], [7] * 60])
def test_packing_places_each_step_once(lengths: list[int]) -> None:
    sequences = [np.arange(n) + 100 * i for i, n in enumerate(lengths)]
    packed = pack_sequences(sequences)
    used = torch.cat(packed.indices)
    assert len(used.unique()) == sum(lengths)
    for number, (sequence, place) in enumerate(zip(sequences, packed.indices, strict=True)):
        assert packed.ids.flatten()[place].tolist() == sequence.tolist()
        assert set(packed.owner.flatten()[place].tolist()) == {number}
        assert packed.keep.flatten()[place].tolist() == [False] + [True] * (len(sequence) - 1)
        assert place.diff().eq(packed.ids.shape[1]).all(), "the steps of a sequence share a row"
    assert int((packed.owner == len(lengths)).sum()) == packed.ids.numel() - sum(lengths)
