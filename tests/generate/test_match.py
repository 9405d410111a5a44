"""Replies are ranked by how well they belong to what was said, where a bot's folder tells."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.decoder import Decoder, State
from elman.generate.likelihood import Tokens, read_alone
from elman.generate.match import MATCH, LinearMap, Match
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.penalties import History
from elman.generate.rerank import Ranking, best_drawn, draw
from elman.generate.sampling import SamplingParams
from elman.model.array_files import read_arrays, write_arrays
from elman.train import Config, train

PARAMS = SamplingParams(temperature=1.0, min_p=0.0, max_tokens=4)
RANKING = Ranking(samples=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    out = tmp_path_factory.mktemp("bot") / "ann"
    train(make_config(**{"train.steps": 2}), out)
    return out


@pytest.fixture(scope="module")
def bot(folder: Path) -> NetworkBot:
    return load_network_bot(folder)


def made(bot: NetworkBot, weight: float = 3.0) -> Match:
    """Make one whose two maps are the same."""
    size = bot.decoder.vectors(bot.decoder.initial_state(1)).shape[1]
    random = np.random.default_rng(0)
    both = LinearMap(np.zeros(size, np.float32), random.normal(size=(size, 4)).astype(np.float32))
    crowd = both(random.normal(size=(5, size)))
    return Match(both, both, crowd, weight)


def asked(bot: NetworkBot, *texts: str) -> State:
    rows = [[np.array([ROLES["user"], *bot.tokenizer.encode(text), END])] for text in texts]
    return bot.decoder.read(rows, bot.decoder.initial_state(len(texts)))


def tokens_of(bot: NetworkBot, *texts: str) -> list[Tokens]:
    return [tuple(bot.tokenizer.encode(text)) for text in texts]


def gains_of(
    wanted: Tokens,
    decoder: Decoder,
    state: State,
    rows: Sequence[Sequence[Tokens]],
    after: Sequence[np.ndarray],
) -> list[np.ndarray]:
    return [np.array([1e6 * (each == wanted) for each in own]) for own in rows]


def test_it_is_the_cosine_less_that_of_a_crowd(bot: NetworkBot) -> None:
    match, state = made(bot), asked(bot, "what is 2 plus 1?", "hello")
    replies = tokens_of(bot, "it is 3", "it is 4, Bob.", "no")
    after = read_alone(bot.decoder, replies)[1]
    found = match.gains(bot.decoder, state, [replies, replies[:1]], [after, after[:1]])
    assert [len(own) for own in found] == [3, 1]
    said = match.answered(after)
    there = match.asked(bot.decoder.vectors(state))
    for n in range(3):
        hub = np.log(np.mean(np.exp(16 * match.crowd @ said[n]))) / 16
        assert found[0][n] == pytest.approx(3 * (there[0] @ said[n] - hub), abs=1e-4)


def test_what_belongs_is_said(bot: NetworkBot) -> None:
    state = asked(bot, "what is 2 plus 1?")
    drawn = draw(bot.decoder, state, PARAMS, 8, np.random.default_rng(1))[0]
    assert len(drawn) > 2
    for wanted in drawn[:3]:
        generator, match = np.random.default_rng(1), partial(gains_of, wanted.tokens)
        found = best_drawn(bot.decoder, state, PARAMS, RANKING, generator, gains_of=match)
        assert found[0].tokens == wanted.tokens


def test_what_was_said_before_is_said_last(bot: NetworkBot) -> None:
    state = asked(bot, "what is 2 plus 1?")
    said: list[Tokens] = []
    for _ in range(5):
        found = best_drawn(
            bot.decoder, state, PARAMS, RANKING, np.random.default_rng(1), (), [History((), said)]
        )[0]
        assert found.tokens not in said or found.certain
        said.append(found.tokens)


def test_it_is_kept_with_a_bot(bot: NetworkBot, folder: Path, tmp_path: Path) -> None:
    assert Match.read(bot) is None
    match = made(bot)
    match.save(bot)
    path = folder / MATCH
    found = Match.read(bot)
    assert found is not None
    assert found.weight == match.weight
    assert np.allclose(found.asked.directions, match.asked.directions, atol=1e-2)
    assert np.allclose(found.crowd, match.crowd, atol=1e-3)

    tensors, facts = read_arrays(path)
    write_arrays(path, tensors, facts | {"weights": "others"})
    assert Match.read(bot) is None, "its maps are of other states"
    for wrong in (
        {name: each for name, each in tensors.items() if name != "crowd"},
        tensors | {"asked_centre": tensors["asked_centre"][1:]},
        tensors | {"weight": np.array([1, 2], np.float16)},
    ):
        write_arrays(path, wrong, facts)
        with pytest.raises(ElmanError, match="delete it"):
            Match.read(bot)
    shutil.move(path, tmp_path / MATCH)


def test_the_base_has_one_and_it_finds_what_belongs() -> None:
    base = load_network_bot("base")
    match = Match.read(base)
    assert match is not None
    pairs = {
        "My grandmother is ill.": "Oh no! I'm sorry to hear that.",
        "What kind of music do you like?": "I love rock and pop music.",
        "I have two dogs and a cat.": "What are their names?",
    }
    replies = tokens_of(base, *pairs.values())
    after = read_alone(base.decoder, replies)[1]
    gains = match.gains(base.decoder, asked(base, *pairs), [replies] * 3, [after] * 3)
    assert [int(own.argmax()) for own in gains] == list(range(len(pairs)))
