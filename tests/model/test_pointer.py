"""The pointer: its mixture against the definition, and its record however it is read."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import linear_cross_entropy
from elman.data.tokenizer import END, ROLES, SPECIALS
from elman.generate.network import load_network_bot
from elman.model import ModelConfig, build, pointer
from elman.model.chatbot import Chatbot
from elman.model.config import KEY_SIZE, LONGEST_NGRAM
from elman.model.pointer import Pointer

V, H, T, B = 9, 5, 12, 3
# Sums of these sizes differ by some 1e-15 where they are taken in another order.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


def make(length: int) -> Pointer:
    """Weights of every kind, and a sentinel that lets much through."""
    torch.manual_seed(0)
    made = Pointer(H, length).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made


def zeros(made: Pointer, rows: int = B) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(rows, s.size, dtype=torch.float64) for s in made.state_spec(""))


def steps() -> tuple[Tensor, Tensor, Tensor]:
    """ids with many repetitions, hidden states, and `keep`: conversations begin with a role."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(SPECIALS, V, (T, B), generator=draw)
    keep = torch.ones(T, B, dtype=torch.bool)
    for step, row in [(0, 0), (0, 1), (5, 1), (6, 1), (7, 2)]:
        keep[step, row], ids[step, row] = False, ROLES["user"]
    ids[3, 0] = END
    return ids, torch.randn(T, B, H, generator=draw, dtype=torch.float64), keep


def by_definition(made: Pointer, ids: Tensor, hidden: Tensor, keep: Tensor, t: int, b: int) -> Any:
    """g, what is pointed at each of the V tokens, and what the logits are made of: a loop over the
    tokens before.
    """
    begin = max((s for s in range(t + 1) if not keep[s, b]), default=0)
    query = made.query(hidden[t, b])
    scores = [made.sentinel(hidden[t, b])[0].exp()]
    copied, read = torch.zeros(V).double(), torch.zeros(KEY_SIZE).double()
    for j in range(max(begin, t - made.length + 1), t + 1):
        if ids[j, b] >= SPECIALS:  # and so is the first of no conversation
            before = made.before(hidden[j - 1, b]) if j else torch.zeros(KEY_SIZE).double()
            key = before + made.itself(hidden[j, b])
            score = query @ key / KEY_SIZE**0.5
            for back, gain in enumerate(made.follow(hidden[t, b])):
                alike = all(
                    min(j - 1 - n, t - n) >= 0 and ids[j - 1 - n, b] == ids[t - n, b] >= SPECIALS
                    for n in range(back + 1)
                )
                score = score + gain * (alike and j > t - made.length + back)
            scores.append(score.exp())
            copied = copied + score.exp() * F.one_hot(ids[j, b], V)
            read = read + score.exp() * key
    total = torch.stack(scores).sum()
    return scores[0] / total, copied / total, hidden[t, b] + made.tell(read / total)


@pytest.mark.parametrize("length", [1, 4, 50])
@pytest.mark.parametrize("queries", [3, 128])
def test_what_is_pointed_at(length: int, queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer, "QUERY_CHUNK_STEPS", queries)
    made = make(length)
    ids, hidden, keep = steps()
    targets = torch.randint(SPECIALS, V, (T, B), generator=torch.Generator().manual_seed(2))
    targets[::2] = ids[::2]  # so that even the last token alone is worth pointing at
    record, _ = made.record(ids, hidden, zeros(made), keep)
    told, pointed = made.point(record, hidden, targets)
    some = 0
    for t in range(T):
        for b in range(B):
            gate, copied, expected = by_definition(made, ids, hidden, keep, t, b)
            torch.testing.assert_close(told[t, b], expected, **EXACT)
            torch.testing.assert_close(pointed.log_gate[t, b], gate.log(), **EXACT)
            odds = copied[targets[t, b]] / gate
            torch.testing.assert_close(pointed.odds[t, b].exp(), odds, rtol=1e-12, atol=1e-12)
            share = odds * gate / (1 - gate)  # of all but the sentinel
            alone = share.log() if odds > 0 else torch.zeros((), dtype=torch.float64)
            # By 1 - gate a share of 1 is known to no more than its own rounding over what is left.
            torch.testing.assert_close(pointed.alone[t, b], alone, rtol=0, atol=1e-9)
            some += bool(odds > 0)
    assert some > T, "many targets must be among what can be pointed at"


@pytest.mark.parametrize("length", [1, 4, 50])
def test_a_record_is_the_same_however_it_was_cut(length: int) -> None:
    made = make(length)
    ids, hidden, keep = steps()
    record, whole = made.record(ids, hidden, zeros(made), keep)
    targets = ids.roll(-1, 0)
    told, expected = made.point(record, hidden, targets)
    for cuts in [(5,), (1, 6, 8), tuple(range(1, T))]:
        state, begin = zeros(made), 0
        for end in (*cuts, T):
            span = slice(begin, end)
            part, state = made.record(ids[span], hidden[span], state, keep[span])
            told_here, found = made.point(part, hidden[span], targets[span])
            torch.testing.assert_close(told_here, told[span], rtol=1e-12, atol=1e-12)
            for one, other in zip(found[:3], expected[:3], strict=True):
                torch.testing.assert_close(one, other[span], rtol=1e-12, atol=1e-12)
            if length >= LONGEST_NGRAM:  # as far as the key reaches
                assert torch.equal(found.key, expected.key[span])
            begin = end
        for one, other in zip(state, whole, strict=True):
            torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("length", [1, 2, 4, 50])
def test_one_step_says_what_many_do(length: int) -> None:
    """The whole distribution, of which what `point` gives are parts."""
    made = make(length)
    ids, hidden, keep = steps()
    weight = torch.randn(V, H, generator=torch.Generator().manual_seed(3)).double()
    targets = ids.roll(-1, 0)
    told, expected = made.point(made.record(ids, hidden, zeros(made), keep)[0], hidden, targets)
    state, alike = zeros(made), zeros(made)
    for t in range(T):
        kept = keep[t].unsqueeze(1)
        before = tuple(each * kept for each in state)
        _, alike = made.record(ids[t : t + 1], hidden[t : t + 1], alike, keep[t : t + 1])
        said, state = made.say(ids[t], hidden[t], hidden[t], before, lambda h: h @ weight.t())
        torch.testing.assert_close(said.heard, told[t], **EXACT)
        torch.testing.assert_close(said.p.sum(1), torch.ones(B).double(), **EXACT)
        of_words = (told[t] @ weight.t()).log_softmax(1).gather(1, targets[t, :, None])[:, 0]
        mixed = expected.log_gate[t] + torch.logaddexp(of_words, expected.odds[t])
        p = said.p.gather(1, targets[t, :, None])[:, 0]
        torch.testing.assert_close(p, mixed.exp(), **EXACT)
        for one, other in zip(state, alike, strict=True):
            torch.testing.assert_close(one, other, **EXACT)
        if length >= LONGEST_NGRAM:  # as far as the key reaches
            assert torch.equal(said.key, expected.key[t])


def test_rows_end_where_they_end() -> None:
    made = make(4)
    ids, hidden, _ = steps()
    lengths = [T, 1, 3]
    before = tuple(torch.randn_like(tensor) for tensor in zeros(made))
    before[0].copy_(ids[:4].t())
    padded = ids.clone()
    for row, length in enumerate(lengths):
        padded[length:, row] = 0
    _, state = made.record(padded, hidden, before, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        own = slice(row, row + 1)
        alone = tuple(tensor[own] for tensor in before)
        _, expected = made.record(ids[:length, own], hidden[:length, own], alone)
        for one, other in zip(state, expected, strict=True):
            torch.testing.assert_close(one[own], other, **EXACT)


def test_a_row_of_no_steps_keeps_its_record() -> None:
    made = make(4)
    ids, hidden, _ = steps()
    _, before = made.record(ids, hidden, zeros(made))
    nobody = torch.zeros(B, dtype=torch.long)
    _, after = made.record(torch.zeros_like(ids), hidden, before, lengths=nobody)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_a_reset_forgets_the_record() -> None:
    made = make(50)
    ids, hidden, _ = steps()
    ids[0] = ROLES["user"]
    keep = torch.ones(T, B, dtype=torch.bool)
    keep[0] = False
    full = tuple(torch.randn_like(tensor) for tensor in zeros(made))
    full[0].fill_(SPECIALS)
    fresh, after_nothing = made.record(ids, hidden, zeros(made), keep)
    other, after_much = made.record(ids, hidden, full, keep)
    for one, two in zip(after_nothing, after_much, strict=True):
        assert torch.equal(one, two)
    (told, pointed), (told_too, pointed_too) = (
        made.point(record, hidden, ids) for record in (fresh, other)
    )
    for one, two in zip((told, *pointed), (told_too, *pointed_too), strict=True):
        assert torch.equal(one, two)


def test_gradients() -> None:
    """Of the whole loss, through the record, to everything."""
    made = make(4)
    ids, hidden, keep = steps()
    weight = torch.randn(V, H, dtype=torch.float64, requires_grad=True)
    hidden.requires_grad_()
    targets = ids.roll(-1, 0)
    state = tuple(torch.randn_like(tensor) for tensor in zeros(made))
    state[0].copy_(ids[:4].t())
    names, parameters = zip(*made.named_parameters(), strict=True)

    def loss(hidden: Tensor, weight: Tensor, *values: Tensor) -> Tensor:
        def nats(hidden: Tensor) -> Tensor:
            record, _ = made.record(ids, hidden, state, keep)
            told, pointed = made.point(record, hidden, targets)
            rest = linear_cross_entropy(
                told.flatten(0, 1), weight, targets.flatten(), beside=pointed.odds.flatten()
            )
            return rest - pointed.log_gate.sum() - 0.1 * pointed.alone.sum()

        with torch.nn.utils.stateless._reparametrize_module(
            made, dict(zip(names, values, strict=True))
        ):
            return nats(hidden)

    assert torch.autograd.gradcheck(loss, (hidden, weight, *parameters))


def chatbot(length: int, hidden_size: int = 16, memory: str = "tokens") -> Chatbot:
    torch.manual_seed(0)
    sizes = {"memory": memory, "hidden_size": hidden_size, "pointer": length}
    return build(ModelConfig.model_validate(sizes), 270)


def test_the_base_copies() -> None:
    base = load_network_bot("base")
    config = ModelConfig.model_validate(base.config["model"] | {"pointer": 0})
    without = build(config, base.tokenizer.vocabulary_size)
    without.begin_from(base.chatbot)
    texts = ["hi, I am Zoltan from Debrecen.", "hello Zoltan from Debrecen!", "yes, Debrecen."]
    messages = [
        np.array([1 + n % 2, *base.tokenizer.encode(text), END]) for n, text in enumerate(texts)
    ]
    costs = []
    for each in (without.eval(), base.chatbot):
        (nats,), _ = each.score([messages], each.initial_state(1))
        costs.append(nats)
    assert costs[1][1:].sum() < 0.7 * costs[0][1:].sum(), "much to copy"


def test_the_state_says_how_large_it_is() -> None:
    made = chatbot(256)
    sizes = {spec.name: spec.size for spec in made.state_spec}
    assert sizes["tokens.pointer.ids"] == 256
    assert sizes["tokens.pointer.keys"] == 256 * KEY_SIZE
    before = made.initial_state(1)
    after = made.read([1, *range(4, 204), 0] * 3, before)
    assert [t.shape for t in before] == [t.shape for t in after]


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_absorbing_gives_the_state_that_scoring_gives(memory: str) -> None:
    bot = chatbot(8, memory=memory)
    rows = [[np.array([1, 9, 10, 11, 0])], [np.array([2, 12, 0]), np.array([1, 9, 9, 13, 14, 0])]]
    start = bot.initial_state(2)
    scored = bot.score(rows, start)[1]
    assert any(tensor.any() for tensor in scored[-3:]), "the record holds something"
    for one, other in zip(bot.absorb(rows, start), scored, strict=True):
        assert torch.equal(one, other)
