"""Talking, and going on later, in a process where torch cannot be imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman import MemoryStore, SamplingParams, Session, load_bot, load_network_bot
from elman.data.tokenizer import END
from elman.generate.bot import Bot
from elman.generate.drawing import reply

Run = Callable[..., Any]

LINES = ["hello there", "what is 1 plus 2?", "and what do you like?"]


def said(bot: Bot, seed: int) -> list[str]:
    session = Session(bot, SamplingParams(seed=seed, temperature=1.0))
    return ["".join(session.say(line)) for line in LINES]


def test_a_chat_and_its_session(without_torch: Run, trained: Path, tmp_path: Path) -> None:
    chat = ["-m", "elman", "chat", trained, "--seed", "3", "--weights", "float32"]
    kept = ["--db", tmp_path / "memory.db", "--session", "tea"]
    ran = without_torch(*chat, *kept, given="\n".join(LINES))
    assert ran.code == 0, ran.err
    first = ran.out.splitlines()
    assert len(first) == len(LINES)
    state = tmp_path / "kept.state"
    ran = without_torch(*chat, *kept, given=f"/again\n/save {state}\n/load {state}\n/tree\nbye\n")
    assert ran.code == 0, ran.err
    assert "tea goes on, 6 messages old" in ran.err
    assert "elman:" not in ran.err
    shown = without_torch("-m", "elman", "sessions", "show", "tea", *kept[:2])
    assert shown.code == 0, shown.err
    assert without_torch("-m", "elman", "sessions", "list", *kept[:2]).code == 0


def test_why_says_what_to_install_and_the_talk_goes_on(without_torch: Run, trained: Path) -> None:
    ran = without_torch("-m", "elman", "chat", trained, given="hello\n/why\nhello again\n")
    assert ran.code == 0, ran.err
    assert ran.err == "elman: this needs torch: pip install 'elman[train]'\n"
    one, none, other = ran.out.splitlines()
    assert one
    assert not none
    assert other


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_seed_gives_the_words_that_it_gives_in_torch(trained: Path, seed: int) -> None:
    assert said(load_bot(trained, "float32"), seed) == said(load_network_bot(trained), seed)


def test_a_drawn_reply_is_that_of_torch_token_by_token(trained: Path) -> None:
    found = []
    for bot in (load_bot(trained, "float32"), load_network_bot(trained)):
        params = SamplingParams(seed=5, temperature=1.0)
        tokens = reply(bot.decoder, bot.decoder.initial_state(1), params, params.generator())
        found.append([token for token, _ in tokens])
    assert found[0] == found[1]
    assert found[0][-1] == END


def test_a_session_goes_on_from_the_states_of_the_other(trained: Path, tmp_path: Path) -> None:
    loaders = [lambda: load_bot(trained, "float32"), lambda: load_network_bot(trained)]
    for number, order in enumerate((loaders, loaders[::-1])):
        place, states = tmp_path / f"{number}.db", []
        for bot in (load() for load in order):
            with MemoryStore(place) as store:
                session = Session(bot, SamplingParams(seed=1), store=store, name="tea")
                assert not session.read_anew
                if not states:
                    "".join(session.say("hello there"))
                states.append(bot.decoder.to_arrays(session.state))
        for one, other in zip(*states, strict=True):
            np.testing.assert_array_equal(one, other)
