"""What a bot gives away: measures with a known answer, and a small bot that is audited."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data.canaries import Canary
from elman.data.conversation import Conversation, Message, Turn
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.tokenizer import Tokenizer
from elman.evaluate.audit import Exposure, Learned
from elman.evaluate.exposure import MAX_EXPOSURE_BITS, Planted, exposures
from elman.evaluate.membership import auc, encoded_for
from elman.evaluate.spans import RepeatedSpan, longest_spans
from elman.generate.network import load_network_bot
from elman.train import Config, train

Run = Callable[..., Any]


def corpus(*conversations: list[list[int]]) -> Corpus:
    """Conversations of messages, each given by its text's tokens."""
    ids = [[n for text in each for n in (1, *text, 0)] for each in conversations]
    starts = np.cumsum([0, *map(len, ids)])
    return Corpus(np.array([n for each in ids for n in each], np.uint16), starts)


def test_the_longest_run_of_each_text_is_found() -> None:
    learned = corpus([[*range(10, 30)], [*range(50, 59)]], [[*range(12, 24), 99]])
    texts = [
        [7, 7, *range(13, 25), 7],  # 12 tokens: 13 to 24
        [*range(10, 17)],  # only 7 tokens
        [*range(50, 59)],
        [*range(55, 59), 0, *range(10, 14)],  # across an END there is no run
        [],
        [*range(12, 20)],
    ]
    found = longest_spans(texts, learned)
    assert found == [
        RepeatedSpan(2, 12, 0, 0, 1),
        None,
        RepeatedSpan(0, 9, 0, 1, 1),
        None,
        None,
        RepeatedSpan(0, 8, 0, 0, 2),
    ]


def test_runs_are_those_of_a_search_by_hand() -> None:
    draw = np.random.default_rng(0)
    learned = corpus(*([draw.integers(4, 7, 40).tolist() for _ in range(3)] for _ in range(4)))
    texts = [draw.integers(4, 7, 25).tolist() for _ in range(30)]
    messages = ["".join(map(str, m[1:-1])) for n in range(4) for m in learned.messages(n)]

    def by_hand(text: list[int]) -> int:
        written = "".join(map(str, text))
        runs = [b - a for a in range(25) for b in range(a + 8, 26)
                if any(written[a:b] in message for message in messages)]  # fmt: skip
        return max(runs, default=0)

    found = [0 if span is None else span.length for span in longest_spans(texts, learned)]
    assert found == [by_hand(text) for text in texts]
    assert max(found) > 8
    assert min(found) == 0


def test_auc_is_the_share_of_pairs_in_order() -> None:
    found = auc(np.array([1.0, 2.0, 5.0]), np.array([3.0, 2.0]), 0)
    assert found is not None
    assert found.auc == pytest.approx((1 + 1 + 1 + 0.5 + 0 + 0) / 6)
    assert found.interval[0] <= found.auc <= found.interval[1]
    assert (found.learned, found.held_out) == (3, 2)
    assert auc(np.zeros(0), np.zeros(3), 0) is None


def test_another_tokenizer_encodes_the_same_text() -> None:
    one, other = Tokenizer.train([], 260), Tokenizer.train(["hello there"] * 9, 270)
    said = Conversation((Message("Ann", "hello there"), Message("Bob", "well héllo")))
    assert (encoded_for(Corpus.encode([said], one), one, other).ids
            == Corpus.encode([said], other).ids).all()  # fmt: skip


@pytest.fixture(scope="module")
def canaried(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    """The folder of a bot that learned six canaries. Not to be changed."""
    folder = tmp_path_factory.mktemp("bots") / "canaried"
    changes = {
        "train.batch_size": 8,
        "train.unfold": 64,
        "train.epochs": 1.2,
        "data.vocabulary": 1024,
        "model.pointer": 16,
        "model.ngrams": 4,
    }
    train(make_config(data__canaries=6, data__canary_seed=5, **changes), folder)
    return folder


def test_training_lists_its_canaries(canaried: Path) -> None:
    listed = json.loads((canaried / "canaries.json").read_text("utf-8"))
    assert listed["seed"] == 5
    assert [each["number"] for each in listed["canaries"]] == list(range(6))
    assert listed["passes"] >= 1
    config = json.loads((canaried / "config.json").read_text("utf-8"))
    dataset = Dataset.again(config["data"])
    planted = {c.number: c.to_json() for _, _, c in dataset.with_canaries() if c is not None}
    assert listed["canaries"] == [planted[n] for n in range(6)]


def test_what_was_planted_is_exposed_and_the_rest_is_not(canaried: Path) -> None:
    bot = load_network_bot(canaried)
    learned = Learned.read(Dataset.again(bot.config["data"]), bot.tokenizer, test=False)
    found = exposures(bot.decoder, bot.tokenizer, learned.planted, 0)
    summed = Exposure.of(found, 0)
    assert summed is not None
    assert summed.bits > 6, "the counts hold each canary word for word"
    assert summed.unlearned_bits < 4
    never = [
        Planted(canary, tuple(Turn(t.role, t.text.replace(p.canary.secret, canary.secret))
                              for t in p.turns))
        for n, p in enumerate(learned.planted)
        for canary in [Canary(n, "violin apple violin apple 0 0 0 0", "Ann", "", 0)]
    ]  # fmt: skip
    unlearned = Exposure.of(exposures(bot.decoder, bot.tokenizer, never, 0), 0)
    assert unlearned is not None
    assert unlearned.bits < summed.bits
    assert summed.at_most == MAX_EXPOSURE_BITS == 9


def test_an_audit_is_told_kept_and_shown_on_the_card(
    canaried: Path, chats: Path, tmp_path: Path, elman: Run
) -> None:
    ran = elman("audit", canaried, "--samples", 40, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["exposure"]["canaries"] == 6
    assert told["membership"]["learned"] == 28
    assert told["calibrated"] is None
    assert told["extraction"]["samples"] == 40
    people = {each["person"]: each for each in told["people"]}
    assert set(people) == {"Ann", "Bob"}
    assert people["Ann"]["exposure"]["canaries"] == 6
    assert people["Bob"]["exposure"] is None
    shown = elman("audit", canaried, chats, "--samples", 40)
    assert "exposure of 6 canaries" in shown.out
    ran = elman("eval", canaried, chats, "--split", "dev", "--card", tmp_path / "card.md")
    assert ran.code == 0, ran.err
    card = (tmp_path / "card.md").read_text("utf-8")
    assert "## What it gives away" in card
    assert "exposure of 6 canaries" in card


def test_one_mistake_one_sentence(
    canaried: Path, chats: Path, trained: Path, tmp_path: Path, elman: Run
) -> None:
    ran = elman("audit", "base")
    assert (ran.code, ran.out) == (2, "")
    assert "does not come with Elman" in ran.err
    ran = elman("audit", trained, tmp_path / "gone.txt")
    assert ran.code == 2
    assert "is gone" in ran.err
    other = tmp_path / "other.txt"
    other.write_text(chats.read_text("utf-8") + "\nBob: hello\nAnn: hello Bob\n", "utf-8")
    ran = elman("audit", canaried, other)
    assert ran.code == 2
    assert "changed since" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_more_canaries_than_conversations(chats: Path, tmp_path: Path, elman: Run) -> None:
    ran = elman(
        "train", chats, "--out", tmp_path / "bot", "--canaries", 1000, "--base", "none",
        "--bot", "Ann", "--set", "train.steps=1", "--set", "data.vocabulary=260",
    )  # fmt: skip
    assert ran.code == 2
    assert "each takes a conversation of its own" in ran.err
