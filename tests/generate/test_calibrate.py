"""How a bot replies best, by its own held-out conversations."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.generate.calibrate import (
    MMI_WEIGHTS,
    WARMTHS,
    Choice,
    choices,
    first_as_good,
    fit_replies,
    variety,
)
from elman.generate.network import load_network_bot
from elman.generate.penalties import PEOPLE, Habits
from elman.generate.positions import HeldOut
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.model.config import ReplyConfig
from elman.train import Config, finishing, resume, train


def test_the_most_that_costs_nothing_is_taken_off() -> None:
    best = np.array([0.0, 1.0] * 50)
    assert first_as_good(np.stack([best, best, best])) == 0
    clearly_worse = best * 0.5
    assert first_as_good(np.stack([clearly_worse, best, best])) == 1
    assert first_as_good(np.stack([clearly_worse, clearly_worse, best])) == 2


def test_what_may_be_chance_does_not_count() -> None:
    best = np.array([0.0, 1.0] * 50)
    by_chance = best.copy()
    by_chance[[0, 1]] = 0.9, 0.0  # better in one place, worse in another
    assert by_chance.mean() < best.mean()
    assert first_as_good(np.stack([by_chance, best])) == 0
    by_chance[3:12:2] = 0.0  # and in five more
    assert first_as_good(np.stack([by_chance, best])) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    out = tmp_path_factory.mktemp("bot") / "ann"
    train(make_config(**{"train.steps": 20}), out)
    return out


def test_training_finds_it_and_replies_are_chosen_by_it(folder: Path) -> None:
    bot = load_network_bot(folder)
    found = json.loads((folder / "config.json").read_text())["reply"]
    assert found["mmi_weight"] in MMI_WEIGHTS
    assert (found["temperature"], found["min_p"]) in WARMTHS
    assert set(found["fitted"]) == set(found) - {"fitted", "care"}
    ranking = Ranking.of(bot.config)
    assert (ranking.mmi_weight, ranking.samples) == (found["mmi_weight"], found["samples"])
    assert ranking.limits == Habits(*(found[f"people_{name}"] for name in Habits._fields))
    given = Ranking.of(bot.config, mmi_weight=0.3, samples=None)
    assert given == ranking.model_copy(update={"mmi_weight": 0.3})
    params = SamplingParams.of(bot.config, temperature=None, min_p=0.3)
    assert (params.temperature, params.min_p) == (found["temperature"], 0.3)


def test_a_bot_that_keeps_nothing_replies_by_the_defaults() -> None:
    configs: list[dict[str, object]] = [
        {},
        {"reply": {}},
        {"reply": {"mmi_weight": None, "fitted": False}},
    ]
    for config in configs:
        assert Ranking.of(config) == Ranking()
        assert SamplingParams.of(config) == SamplingParams()
    older = ReplyConfig.model_validate({"mmi_weight": 0.5, "fitted": True})
    assert "mmi_weight" in older.open
    assert Ranking.of({"reply": older.model_dump()}).mmi_weight == 0.5


def test_it_is_found_again_when_a_run_that_goes_on_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "ann"
    shutil.copytree(folder, out)
    monkeypatch.setattr(finishing, "fit_replies", lambda *given: Choice(0.6, 0.3, 5, 0.125))
    resume(out, budget={"steps": 21})
    config = load_network_bot(out).config
    assert Ranking.of(config).mmi_weight == 0.125
    assert SamplingParams.of(config).min_p == 0.3


def test_it_does_not_depend_on_what_was_drawn_before(folder: Path, chats: Path) -> None:
    bot = load_network_bot(folder)
    decoder, tokenizer = bot.decoder, bot.tokenizer
    corpus = Corpus.encode(Dataset.read(str(chats)).conversations(), tokenizer)
    heldout = HeldOut.of(decoder, tokenizer, corpus, "all")
    assert heldout is not None
    given = {"samples": 4, "temperature": 0.7, "min_p": 0.1}
    found = [fit_replies(decoder, tokenizer, heldout, PEOPLE, given) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0][:3] == (0.7, 0.1, 4), "what was given stays"
    empty = Corpus(corpus.ids[:0], corpus.starts[:1])
    assert HeldOut.of(decoder, tokenizer, empty, "all") is None


def test_what_was_given_stays(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    out = tmp_path / "ann"
    given = {"reply.mmi_weight": 0.1, "reply.people_echo": 9}
    train(make_config(**{"train.steps": 2, **given}), out)
    resume(out, budget={"steps": 3})
    ranking = Ranking.of(load_network_bot(out).config)
    assert (ranking.mmi_weight, ranking.limits.echo) == (0.1, 9)


def test_every_way_is_tried_once() -> None:
    every = choices({})
    assert len(set(every)) == len(every)
    assert {each.samples for each in choices({"samples": 3})} == {3}


def test_variety_is_that_of_pairs_of_words() -> None:
    assert variety(["a b c", "a b"]) == pytest.approx(2 / 3)
    assert variety([]) == 0
