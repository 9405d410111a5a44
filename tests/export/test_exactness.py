"""A page says what Python says with the same weights, in WebAssembly and in plain JavaScript."""

from pathlib import Path

import numpy as np
import pytest

from elman.chat import Session
from elman.data.tokenizer import END, ROLES
from elman.export.html import read_page, write_page
from elman.generate.bot import Bot, load_state, save_state
from elman.generate.manners import Manners, MannersFile
from elman.generate.replier import Replier
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot
from elman.runtime.reference import ReferenceDecoder
from tests.export.conftest import Opened, ask, write_bot
from tests.runtime.test_decoders import CONFIGS, config

ASKED = "what is one plus two?"
COUNT = 200


def read_bot(file: Path) -> Bot:
    """Return the bot of a page, computed in numpy."""
    document, weights, tokenizer = read_page(file)
    facts = {**document["config"], "format": 1}
    return Bot(ReferenceDecoder(weights), tokenizer, facts, file.with_suffix(""))


def likeliest(bot: Bot, asked: str, count: int) -> list[int]:
    decoder, said = bot.decoder, list[int]()
    message = np.array([ROLES["user"], *bot.tokenizer.encode(asked), END])
    logits, state = decoder.begin_reply(decoder.read([[message]], decoder.initial_state(1)))
    while len(said) < count:
        said.append(int(logits[0].argmax()))
        logits, state = decoder.step(np.array(said[-1:]), state)
    return said


@pytest.fixture(scope="module", params=CONFIGS)
def any_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bot(tmp_path_factory.mktemp("bots") / request.param, CONFIGS[request.param])
    write_page(folder, folder.with_suffix(".html"), 8, lambda line: None)
    return folder.with_suffix(".html")


@pytest.mark.parametrize("how", ["", "#javascript"])
def test_the_likeliest_tokens_are_python_s(any_file: Path, how: str, opened: Opened) -> None:
    page = opened(any_file, how)
    assert page.evaluate("document.documentElement.dataset.how") == (
        "JavaScript" if how else "WebAssembly"
    )
    found = ask(page, "likeliest", {"asked": ASKED, "count": COUNT})
    assert found == likeliest(read_bot(any_file), ASKED, COUNT)


@pytest.mark.parametrize("samples", [1, 4])
def test_a_seed_gives_the_words_that_python_gives(file: Path, samples: int, opened: Opened) -> None:
    page, bot = opened(file), read_bot(file)
    params = SamplingParams.of(bot.config, seed=7, max_tokens=30)
    ranking = Ranking.of(bot.config, samples=samples)
    session = Session(bot, replier=Replier(bot, params, ranking))
    settings = {"samples": samples, "temperature": params.temperature, "seed": "7", "speaker": None}
    ask(page, "settings", {**settings, "max_tokens": 30})
    for asked in ("hello there", ASKED, "so do I, and the sea?", "tea"):
        said = "".join(session.say(asked))
        assert ask(page, "say", asked)["path"][-1]["text"] == said


def test_its_manners_leave_with_it(opened: Opened, tmp_path: Path) -> None:
    folder = write_bot(tmp_path / "ann", config(ngrams=0), reply={"samples": 4})
    file = folder.with_suffix(".html")
    write_page(folder, file, 8, lambda line: None)

    def said(bot: Bot) -> list[str]:
        params = SamplingParams.of(bot.config, seed=7, max_tokens=20)
        session = Session(bot, replier=Replier(bot, params, Ranking.of(bot.config)))
        return ["".join(session.say(asked)) for asked in (ASKED, "tea")]

    bot = read_bot(file)
    before = said(bot)
    unlike = {"asks": 3.0, "often": dict.fromkeys([*before, "constructor"], 500)}
    ours = load_bot(folder, "float32")
    Manners(MannersFile(**ours.made_by, **unlike), bot.tokenizer).save(ours)
    write_page(folder, file, 8, lambda line: None)
    Manners(MannersFile(**bot.made_by, **unlike), bot.tokenizer).save(bot)
    after = said(bot)
    assert after != before

    page = opened(file)
    settings = {"samples": 4, "temperature": SamplingParams.of(bot.config).temperature}
    ask(page, "settings", {**settings, "seed": "7", "speaker": None, "max_tokens": 20})
    for asked, text in zip((ASKED, "tea"), after, strict=True):
        assert ask(page, "say", asked)["path"][-1]["text"] == text


def test_states_go_both_ways_byte_for_byte(
    bot: Path, file: Path, opened: Opened, tmp_path: Path
) -> None:
    page, loaded = opened(file), load_bot(bot, "float32")
    ask(page, "say", "I like the sea")
    kept = bytes(page.evaluate("async () => Array.from(await elman.ask('save'))"))
    (tmp_path / "page.state").write_bytes(kept)
    state, facts = load_state(tmp_path / "page.state", loaded)
    assert facts["messages"] == 2
    assert any(part.any() for part in state)
    save_state(tmp_path / "ours.state", loaded, state, {"messages": 2})
    assert (tmp_path / "ours.state").read_bytes() == kept

    state = loaded.decoder.read([[np.array([1, 100, 101, 0])]], state)
    save_state(tmp_path / "more.state", loaded, state, {"messages": 3})
    more = (tmp_path / "more.state").read_bytes()
    load = "async (bytes) => elman.ask('load', {bytes: new Uint8Array(bytes), name: 'more.state'})"
    assert page.evaluate(load, list(more))["messages"] == 3
    assert bytes(page.evaluate("async () => Array.from(await elman.ask('save'))")) == more
