"""What a reply gains for asking, and loses for being said to everybody, as a bot's folder tells."""

from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.manners import Manners, MannersFile, gains_of
from elman.generate.network import NetworkBot, load_network_bot
from elman.model.folder import MANNERS
from elman.train import Config, train


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> NetworkBot:
    out = tmp_path_factory.mktemp("bot") / "ann"
    train(make_config(**{"train.steps": 2}), out)
    return load_network_bot(out)


def made(bot: NetworkBot, **content: object) -> Manners:
    return Manners(MannersFile.model_validate({**bot.made_by, **content}), bot.tokenizer)


def test_what_asks_gains_and_what_is_said_to_everybody_loses(bot: NetworkBot) -> None:
    manners = made(bot, asks=2.0, often={"it is 3": 4, "why?": 1})
    replies = [tuple(bot.tokenizer.encode(t)) for t in ("it is 3", "why?", "it is 4", "who?")]
    state = bot.decoder.initial_state(2)
    found = manners.gains(bot.decoder, state, [replies, []])
    assert found[0] == pytest.approx([-log(5), 2 - log(2), 0, 2])
    assert not len(found[1])


def test_they_are_kept_with_a_bot(bot: NetworkBot) -> None:
    assert gains_of(bot) is None
    made(bot, asks=1.5, often={"no": 3}).save(bot)
    found = Manners.read(bot)
    assert found is not None
    assert found.content == made(bot, asks=1.5, often={"no": 3}).content
    message = np.array([ROLES["user"], *bot.tokenizer.encode("hello"), END])
    state = bot.decoder.read([[message]], bot.decoder.initial_state(1))
    gains = gains_of(bot)
    assert gains is not None
    [own] = gains(bot.decoder, state, [[tuple(bot.tokenizer.encode("no"))]], [])
    assert own == pytest.approx([-log(4)])

    path = bot.path / MANNERS
    made(bot, weights="others").save(bot)
    assert Manners.read(bot) is None, "they are those of other weights"
    path.write_text('{"asks": -1}', "utf-8")
    with pytest.raises(ElmanError, match=r"manners\.json"):
        Manners.read(bot)
    Path(path).unlink()
