"""A memory of somebody's own, in one class: it trains, resumes, chats, is scored and is seen."""

import inspect
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elman.bptt import Full, State, Unfold
from elman.chat import Session
from elman.cli.lens import Wish
from elman.cli.looking import look_at
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.layout import Layout
from elman.data.message_stream import MessageStream, MessageWindow, RowWindow
from elman.data.tokenizer import END, ROLES
from elman.evaluate.measures import evaluate
from elman.generate.network import load_network_bot
from elman.lens.chain import frozen, unfolded
from elman.lens.lags import FollowedReply, lags
from elman.lens.page import page
from elman.lens.whole import differentiate
from elman.model import MEMORIES, Chatbot, ModelConfig, build
from elman.model.blocks import RecurrentStack, StateSpec
from elman.model.chatbot import Batches, Loss
from elman.model.packing import owner_of_tokens, token_ids
from elman.model.ragged import ragged
from elman.model.tensor_files import read_tensors
from elman.model.unrolled import Unrolled
from elman.train import Config, resume, train
from elman.train.checkpoints import checkpoints

Make = Callable[..., Config]
VOCABULARY = 20


class BagChatbot(Chatbot):
    """A message is the mean of its tokens' embeddings, whatever their order. The state goes on by
    one step for each message, and a token is predicted from the one before it and what is
    remembered:

        v_n = mean of E x over m_n
        c_n = stack(v_n, state)
        h_t = E x_t + tanh(W [E x_t, c_{n-1}])
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__(config, vocabulary_size)
        size = config.hidden_size
        self.embedding = nn.Embedding(vocabulary_size, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.stack = RecurrentStack(config.cell, config.layers, size)
        self.speak = nn.Linear(2 * size, size)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.pointer = self.ngrams = None

    @property
    def state_spec(self) -> list[StateSpec]:
        """The layers', what is remembered, and of the message being said the sum and the count."""
        dtype, size = self.embedding.weight.dtype, self.embedding.embedding_dim
        sizes = {"remembered": size, "said.sum": size, "said.count": 1}
        return [
            *self.stack.state_spec("stack"),
            *(StateSpec(name, own, dtype) for name, own in sizes.items()),
        ]

    @property
    def through_time(self) -> RecurrentStack:
        return self.stack

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        return MessageStream(corpus, layout)

    def bags(self, messages: Sequence[np.ndarray]) -> Tensor:
        """What each message is to the layers, (messages, H)."""
        sums = self.embedding.weight.new_zeros(len(messages), self.embedding.embedding_dim)
        if not len(messages):
            return sums
        owner = owner_of_tokens(messages)
        sums = sums.index_add(0, owner, self.embedding(token_ids(messages)))
        return sums / owner.bincount(minlength=len(messages)).unsqueeze(1)

    def hidden(self, messages: Sequence[np.ndarray], remembered: Tensor) -> Tensor:
        """What all tokens of messages but their roles are predicted from, (tokens, H).

        Args:
            messages: at least one.
            remembered: before each, (messages, H).
        """
        read = [message[:-1] for message in messages]
        x = self.embedding(token_ids(read))
        return self._spoken(x, remembered[owner_of_tokens(read)])

    def _spoken(self, x: Tensor, remembered: Tensor) -> Tensor:
        out: Tensor = x + self.speak(torch.cat([x, remembered], 1)).tanh()
        return out

    def remember(
        self, rows: Sequence[Sequence[np.ndarray]], state: State, unfold: Unfold | None = None
    ) -> tuple[list[Tensor], State]:
        """For each row what is remembered before its first message and after each, and the
        state after the last.
        """
        bags = self.bags([message for own in rows for message in own]).split(list(map(len, rows)))
        layers = self.stack.own_state(state)
        outputs, after = ragged(self.stack, bags, layers, unfold)
        befores = state[len(layers)].unsqueeze(1)
        found = [torch.cat(both) for both in zip(befores, outputs, strict=True)]
        nothing_said = map(torch.zeros_like, state[-2:])
        return found, (*after, torch.stack([own[-1] for own in found]), *nothing_said)

    def loss(self, batch: Any, state: State | None, unfold: Unfold) -> Loss:
        rows = batch.rows
        # In two parts: the next window begins with the state between them.
        state = self.begin_window(batch, state)
        first, carried = self.remember([own.messages[: own.carry] for own in rows], state, unfold)
        second, _ = self.remember([own.messages[own.carry :] for own in rows], carried, unfold)
        said = [
            (message, remembered)
            for own, *parts in zip(rows, first, second, strict=True)
            for message, counts, remembered in zip(
                own.messages, own.loss_mask, torch.cat([parts[0], parts[1][1:]]), strict=False
            )
            if counts
        ]
        hidden, targets = state[0].new_zeros(0, state[0].shape[1]), torch.zeros(0, dtype=torch.long)
        if said:
            hidden = self.hidden([m for m, _ in said], torch.stack([c for _, c in said]))
            targets = token_ids([message[1:] for message, _ in said])
        steps = sum(len(message) for own in rows for message in own.messages)
        after = tuple(part.detach() for part in carried)
        return Loss(self.nats(hidden, targets), targets, steps, after, torch.zeros(()))

    @torch.no_grad()
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        messages = [message for own in rows for message in own]
        remembered, after = self.remember(rows, state)
        hidden = self.hidden(messages, torch.cat([own[:-1] for own in remembered]))
        targets = token_ids([message[1:] for message in messages])
        costs = self.costs(hidden, targets).split([len(message) - 1 for message in messages])
        nats = torch.stack([own.sum() for own in costs])
        return list(nats.split(list(map(len, rows)))), after

    def carry(self, message: np.ndarray, state: State) -> State:
        return self.remember([[message]] * len(state[0]), state)[1]

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        *layers, remembered, total, count = state
        x = self.embedding(token)
        return self._say(self._spoken(x, remembered)), (*layers, remembered, total + x, count + 1)

    def end_message(self, state: State) -> State:
        *layers, _, total, count = state
        bag = (total + self.embedding.weight[END]) / (count + 1)
        remembered, after = self.stack(bag.unsqueeze(0), tuple(layers))
        return (*after, remembered[0], torch.zeros_like(total), torch.zeros_like(count))

    def unroll(self, conversations: Sequence[Sequence[np.ndarray]], state: State) -> Unrolled:
        messages = [message for own in conversations for message in own]
        first = state[len(self.stack.own_state(state))]
        read = [owner_of_tokens(messages)]
        owners = {"embedding": read, "stack": [torch.arange(len(messages))], "speak": []}

        def predict(outputs: Sequence[Tensor], wanted: Sequence[Sequence[bool]]) -> Tensor:
            remembered = torch.cat(
                [torch.cat([a[None], b[:-1]]) for a, b in zip(first, outputs, strict=True)]
            )
            spoken = torch.tensor([own for each in wanted for own in each]).nonzero().squeeze(1)
            said = [messages[n] for n in spoken]
            owner = spoken[owner_of_tokens([message[:-1] for message in said])]
            owners["embedding"].append(owner)
            owners["speak"].append(owner)
            return self.hidden(said, remembered[spoken])

        bags = self.bags(messages).split([len(own) for own in conversations])
        return Unrolled(list(bags), predict, owners=owners)


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEMORIES, "bag", BagChatbot)


def made(cell: str = "lstm", size: int = 4) -> Chatbot:
    torch.manual_seed(0)
    config = ModelConfig(memory="bag", cell=cell, layers=2, hidden_size=size)
    chatbot = build(config, VOCABULARY).double().eval()
    for parameter in chatbot.parameters():
        nn.init.normal_(parameter, std=0.5)
    return chatbot


def conversation(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.array([1 + n % 2, *rng.integers(4, VOCABULARY, rng.integers(0, 4)), END], np.uint16)
        for n in range(count)
    ]


class Losing(nn.Module):
    """Gives a chatbot's loss as a function of its weights."""

    def __init__(self, chatbot: Chatbot) -> None:
        super().__init__()
        self.chatbot = chatbot

    def forward(self, batch: Any) -> Tensor:
        return self.chatbot.loss(batch, None, Full()).nats


def test_its_loss_has_the_gradient_that_finite_differences_have() -> None:
    losing = Losing(made("gru", 3))
    batch = MessageWindow(
        [
            RowWindow(conversation(5), [False, True, True, False, True], 3, True),
            RowWindow(conversation(3, 1), [False, True, True], 0, True),
        ]
    )
    names, weights = zip(*losing.named_parameters(), strict=True)

    def loss(*given: Tensor) -> Any:
        return torch.func.functional_call(losing, dict(zip(names, given, strict=True)), (batch,))

    assert torch.autograd.gradcheck(loss, weights)


@torch.no_grad()
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_saying_is_reading_is_learning(cell: str) -> None:
    chatbot, messages = made(cell), conversation(6)
    nats, read = chatbot.score([messages], chatbot.initial_state(1))
    state = chatbot.initial_state(1)
    for message, cost in zip(messages, nats[0], strict=True):
        said = torch.zeros((), dtype=torch.float64)
        for token, after in zip(message[:-1].tolist(), message[1:].tolist(), strict=True):
            logits, state = chatbot.step(torch.tensor([token]), state)
            said -= logits.double().log_softmax(1)[0, after]
        state = chatbot.end_message(state)
        assert float(said) == pytest.approx(float(cost), rel=1e-5)  # it speaks in float32
    for one, other in zip(read, state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    window = MessageWindow([RowWindow(messages, [True] * 6, 6, True)])
    loss = chatbot.loss(window, None, Full())
    assert float(loss.nats.detach()) == pytest.approx(float(nats[0].sum()), rel=1e-12)
    for one, other in zip(read, loss.state, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_lens_sees_what_autograd_does(cell: str) -> None:
    chatbot, messages = made(cell), conversation(6)
    counted = [False, True, False, True, True, True]
    whole = differentiate(chatbot, messages, counted)
    window = MessageWindow([RowWindow(messages, counted, 6, True)])
    chatbot.zero_grad()
    loss = chatbot.loss(window, None, Full()).nats
    loss.backward()
    assert float(whole.nats.sum()) == pytest.approx(float(loss.detach()), rel=1e-12)
    gradients = {
        name.replace(".layers.", ".").replace(".cell.", "."): parameter.grad
        for name, parameter in chatbot.named_parameters()
    }
    seen = {"embedding", "speak", "speak.bias"}
    assert seen < set(whole.norms)
    for name, norm in whole.norms.items():
        gradient = gradients.get(name, gradients.get(f"{name}.weight"))
        assert gradient is not None
        assert norm == pytest.approx(float(gradient.norm()), rel=1e-10), name
        assert float(whole.shares[name].sum()) == pytest.approx(1, abs=1e-10), name
    with frozen(chatbot):
        torch.testing.assert_close(unfolded(whole.chain, 5, 5), whole.gradient[:5])
    # Of one loss, the gradient by lag is the whole one's.
    alone = differentiate(chatbot, messages, [False] * 5 + [True])
    found = lags(chatbot, [FollowedReply(messages)], 5)
    assert found.tokens is None
    torch.testing.assert_close(found.messages.flip(0), alone.gradient[:5].norm(dim=2))


def test_from_training_to_the_lens(tmp_path: Path, make_config: Make, chats: Path) -> None:
    from elman.lens.watcher import GradientWatcher

    events: list[tuple[str, dict[str, Any]]] = []
    config = make_config(model__memory="bag", train__unfold=4, train__steps=40)

    def watcher(chatbot: Any, tokenizer: Any, corpus: Any, settings: Any) -> GradientWatcher:
        return GradientWatcher(chatbot, tokenizer, corpus, settings, share=1e9)

    train(
        config,
        tmp_path / "whole",
        watcher=watcher,
        observers=(lambda kind, facts: events.append((kind, dict(facts))),),
    )
    bits = [facts["bits_per_byte"] for kind, facts in events if kind == "validation"]
    assert bits[-1] < bits[0]
    assert any(kind == "lag" for kind, _ in events)

    asked = iter(range(9))
    train(config, tmp_path / "parts", stop=lambda: next(asked, None) is None)
    resume(tmp_path / "parts")
    one, other = (read_tensors(checkpoints(tmp_path / name)[0])[0] for name in ("whole", "parts"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())

    bot = load_network_bot(tmp_path / "whole")
    session = Session(bot)
    reply = "".join(session.say("what is 1 plus 2?"))
    turns = session.turns
    assert turns[-1][0] == ROLES["bot"]
    assert bot.tokenizer.decode(turns[-1][1:-1]) == reply

    from elman.lens.attribution import attribute

    found = attribute(bot, turns[:-1], turns[-1], linear=True)
    assert [each.message for each in found] == [0]
    assert found[0].nats != 0

    every = Dataset.read(str(chats), bot="Ann").conversations()
    corpus = Corpus.encode(islice(every, 4), bot.tokenizer, "Ann")
    report = evaluate(bot, corpus, "bot").report
    assert 0 < report.bits_per_byte < 8

    seen = look_at(tmp_path / "whole", str(chats), Wish(name="Ann"))
    assert seen["memory"] == "bag"
    assert seen["step_unit"] == "messages"
    assert {each["name"] for each in seen["weights"]} > {"embedding", "speak", "stack.0.weight_ih"}
    assert json.dumps(seen)
    assert page(seen)


def test_the_document_shows_this_very_memory() -> None:
    document = Path(__file__).parents[2] / "docs" / "memory.md"
    assert inspect.getsource(BagChatbot) in document.read_text("utf-8")
