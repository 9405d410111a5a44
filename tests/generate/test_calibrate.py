"""How much is taken off a reply for fitting everywhere, by a bot's own held-out conversations."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.generate.calibrate import MMI_WEIGHTS, first_as_good, fit_mmi_weight
from elman.generate.network import decoder_of
from elman.generate.positions import HeldOut
from elman.generate.rerank import Ranking
from elman.model.checkpoint import load_bot
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
    bot = load_bot(folder)
    found = json.loads((folder / "config.json").read_text())["reply"]["mmi_weight"]
    assert found in MMI_WEIGHTS
    assert Ranking.of(bot.config).mmi_weight == found
    assert Ranking.of(bot.config, mmi_weight=0.3, samples=None) == Ranking(mmi_weight=0.3)
    assert Ranking.of({}) == Ranking()


def test_it_is_found_again_when_a_run_that_goes_on_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "ann"
    shutil.copytree(folder, out)
    monkeypatch.setattr(finishing, "fit_mmi_weight", lambda *given: 0.125)
    resume(out, budget={"steps": 21})
    assert Ranking.of(load_bot(out).config).mmi_weight == 0.125


def test_it_does_not_depend_on_what_was_drawn_before(folder: Path, chats: Path) -> None:
    bot = load_bot(folder)
    corpus = Corpus.encode(Dataset.read(str(chats)).conversations(), bot.tokenizer)
    heldout = HeldOut.of(decoder_of(bot), corpus, "all")
    assert heldout is not None
    found = [fit_mmi_weight(decoder_of(bot), bot.tokenizer, heldout) for _ in range(2)]
    assert found[0] == found[1]
    empty = Corpus(corpus.ids[:0], corpus.starts[:1])
    assert HeldOut.of(decoder_of(bot), empty, "all") is None


def test_what_was_given_stays(tmp_path: Path, make_config: Callable[..., Config]) -> None:
    out = tmp_path / "ann"
    train(make_config(**{"train.steps": 2, "reply.mmi_weight": 0.1}), out)
    resume(out, budget={"steps": 3})
    assert Ranking.of(load_bot(out).config).mmi_weight == 0.1
