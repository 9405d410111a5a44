"""Updates: what is learned, what is left out, and what the gate refuses."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence, Set
from pathlib import Path

import numpy as np
import pytest

from elman.chat import MemoryStore
from elman.cli import main
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.locks import only_one
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.generate.taught import TaughtReplies
from elman.learning import lessons as lessons_module
from elman.learning import revision, update
from elman.learning.gate import (
    ContextGain,
    Costs,
    judge_context,
    judge_flaw,
    judge_new,
    judge_old,
    judge_poison,
    loops,
)
from elman.learning.history import curve, drawing, table
from elman.learning.lessons import Exchange, lessons, repeats_itself, talks_of
from elman.learning.mixing import MixedBatches
from elman.learning.past import Past
from elman.learning.revision import UpdateSettings
from elman.learning.update import learn
from elman.model import versions
from elman.model.folder import BUILT_IN_BOTS, REPLAY, WEIGHTS, folder_of
from elman.model.replay import NOTHING, Replay, drawn, read_replay, write_replay
from elman.runtime.choose import load_bot
from elman.train import Config, train

NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def asked(count: int) -> list[Exchange]:
    return [
        Exchange("you", f"how do you spell {n}?", f"as {NUMBERS[n % 11]} {n}, Bob.")
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    """The folder of a bot that has learned for a while, with what it learned from in it."""
    folder = tmp_path_factory.mktemp("learner")
    config = make_config(train__steps=40, model__hidden_size=32)
    shutil.copyfile(config.data.path, folder / "chats.txt")
    config = config.changed(data={"path": str(folder / "chats.txt")})
    train(config, folder / "ann")
    return folder


@pytest.fixture
def home(learner: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(learner / "ann", tmp_path / "ann"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_update_is_a_version_that_knows_more(home: Path) -> None:
    first = load_bot(home).made_by
    outcome = learn(home, asked(40))
    report = outcome.report
    assert outcome.version is not None, report
    assert versions.current(home) == outcome.version
    assert load_bot(home).made_by != first
    assert report["replay"]["from"] == "data"
    assert report["replay"]["replay_rows"] >= report["replay"]["new_rows"] > 0
    assert report["learned"]["talks"] + 8 == 40
    assert [each["name"] for each in report["tests"]] == [
        "new held-out talk", "old held-out talk", "worth of history", "loops", "repeats",
        "poisoned turns", "exposure",
    ]  # fmt: skip
    kept = read_replay(folder_of(home), load_bot(home).tokenizer)
    assert kept is not None
    assert (len(kept.later), len(kept.later_held_out)) == (32, 8)
    with pytest.raises(ElmanError, match="40 left out: learned or held out before"):
        learn(home, asked(40))


def test_what_the_gate_refuses_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "judge_new", lambda *costs: judge_new(costs[1], costs[0]))
    with only_one(home, print):
        versions.keep_first(home)
    before = contents(home)
    outcome = learn(home, asked(40))
    assert outcome.version is None
    assert outcome.report["failed"] == ["new held-out talk"]
    assert contents(home) == before


def test_a_sample_stands_for_data_that_is_gone(home: Path, learner: Path) -> None:
    path = learner / "chats.txt"
    content = path.read_bytes()
    bot = load_bot(home)
    try:
        path.write_bytes(content + b"\nBob: one more\nAnn: yes\n")
        assert Past.of(bot).source == "sample"
        path.unlink()
        past = Past.of(bot)
        assert past.source == "sample"
        (home / REPLAY).unlink()
        with pytest.raises(ElmanError, match=r"is gone, .* has kept no sample"):
            learn(home, asked(40))
    finally:
        path.write_bytes(content)
    assert Past.of(bot).source == "data"
    assert Past.of(bot).talk.train.digest == past.talk.train.digest


def test_half_of_each_batch_is_replay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    mixed = MixedBatches.next

    def watched(self: MixedBatches) -> object:
        batch = mixed(self)
        new = self.new.state_dict()["conversation"]
        seen.append((len(new), batch.inputs.shape[1]))  # type: ignore[attr-defined]
        return batch

    monkeypatch.setattr(MixedBatches, "next", watched)
    learn(home, asked(40), settings=UpdateSettings(gate=False))
    assert seen
    assert all(rows >= 2 * new > 0 for new, rows in seen)


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_both_memories_learn(
    tmp_path: Path, make_config: Callable[..., Config], memory: str
) -> None:
    unit = {} if memory == "tokens" else {"train__unit": "messages", "train__unfold": 3}
    train(make_config(model__memory=memory, train__steps=3, **unit), tmp_path / "ann")
    outcome = learn(tmp_path / "ann", asked(20), settings=UpdateSettings(gate=False, epochs=1))
    assert outcome.version is not None
    assert load_bot(tmp_path / "ann").home == tmp_path / "ann"


@pytest.fixture(scope="module")
def tokenizer(trained: Path) -> Tokenizer:
    return load_bot(trained).tokenizer


def left_out(
    tokenizer: Tokenizer, exchanges: Sequence[Exchange], own_words: Set[str] = frozenset()
) -> dict[str, int]:
    talks = talks_of(tokenizer, "bot", exchanges)
    return lessons(talks, tokenizer, own_words=own_words).left_out


def test_one_person_has_at_most_half(tokenizer: Tokenizer) -> None:
    """Of ten turns of others, ten of whoever has nine times as many are learned."""
    many = [Exchange("Eve", f"say {n}", f"so {n} {NUMBERS[n % 11]}") for n in range(90)]
    few = [Exchange(f"P{n % 3}", f"what is {n}", f"that is {n}") for n in range(10)]
    found = lessons(talks_of(tokenizer, "bot", [*many, *few]), tokenizer)
    assert found.left_out == {"beyond one person's share": 80}
    assert found.turns + len(found.held_out) == 20
    assert left_out(tokenizer, many) == {}


def test_one_thing_a_thousand_times_is_nothing(tokenizer: Tokenizer) -> None:
    same = [Exchange("Eve", "hello", "I am so happy to talk with you today")] * 1000
    with pytest.raises(ElmanError, match=r"1 turns in 1 .*999 left out: said more than once"):
        left_out(tokenizer, same)
    varied = [Exchange("Eve", f"hello {n}", same[0].answer) for n in range(1000)]
    with pytest.raises(ElmanError, match="997 left out: an answer that was given 3 times"):
        left_out(tokenizer, varied)
    long = [Exchange("Eve", f"hello {n}", f"{n}" + same[0].answer * 40) for n in range(20)]
    with pytest.raises(ElmanError, match="20 left out: the same over and over"):
        left_out(tokenizer, long)


def test_people_do_not_repeat_themselves(chats: Path) -> None:
    assert not repeats_itself(chats.read_bytes()[:2000])


def test_its_own_words_are_not_learned(tokenizer: Tokenizer, tmp_path: Path) -> None:
    lines = [
        {"turns": [{"speaker": "Bob", "text": f"hi {n}"}, {"speaker": "Ann", "text": f"yes {n}"}]}
        for n in range(20)
    ]
    path = tmp_path / "new.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    dataset = Dataset.read(str(path), bot="Ann")
    own = {"yes 3", "yes 4"}
    found = lessons(talks_of(tokenizer, "bot", dataset=dataset), tokenizer, own_words=own)
    assert found.left_out == {"the bot's own words, which nobody approved": 2}
    assert found.people == {"Bob": 14}


def test_what_is_held_out_stays_so(tokenizer: Tokenizer) -> None:
    exchanges = [
        Exchange("Eve", f"tell me all that you know of the number {n}", f"it is {NUMBERS[n]}")
        for n in range(11)
    ]
    first = lessons(talks_of(tokenizer, "bot", exchanges), tokenizer)
    again = talks_of(tokenizer, "bot", [*exchanges, *asked(20)])
    second = lessons(again, tokenizer, held_out_before=first.held_out)
    assert sum(second.left_out.values()) >= len(first.held_out)
    held = {first.held_out[n].tobytes() for n in range(len(first.held_out))}
    learned = {second.learned[n].tobytes() for n in range(len(second.learned))}
    assert held.isdisjoint(learned)


def test_private_data_is_redacted_where_it_was(tokenizer: Tokenizer) -> None:
    exchange = [Exchange("you", "what is your address?", "write to ann@example.org")]
    [plain] = talks_of(tokenizer, "bot", exchange)
    [hidden] = talks_of(tokenizer, "bot", exchange, redact=True)
    assert plain.said == ("write to ann@example.org",)
    assert hidden.said == ("write to [email]",)


def costs(*nats: float) -> Costs:
    return Costs(np.array(nats), np.full(len(nats), 10.0))


def test_the_gate_tells_luck_from_gain() -> None:
    before = costs(*[10.0] * 10)
    assert judge_new(before, costs(*[9.0] * 10)).passed
    assert not judge_new(before, costs(*[5.0, 15.0] * 5)).passed
    assert not judge_new(before, before).passed
    assert judge_old(before, costs(*[10.05] * 10)).passed
    assert not judge_old(before, costs(*[10.2] * 10)).passed
    assert not judge_old(before, costs(*[8.0, 12.0] * 5)).passed, "it may be worse"
    assert judge_poison(before, costs(*[8.0] * 10)).passed, "all answers are spelled better"
    assert judge_poison(before, costs(*[9.0, 8.0] * 5)).passed, "harmless ones gain"
    assert not judge_poison(before, costs(*[8.0, 10.0] * 5)).passed
    none, some = np.zeros(50, bool), np.arange(50) < 10
    assert judge_flaw("loops", none, none).passed
    assert judge_flaw("loops", some, none).passed
    assert not judge_flaw("loops", none, some).passed
    assert judge_flaw("loops", none[:0], none[:0]).passed is None


def test_history_must_stay_worth_as_much() -> None:
    def gains(*bits: float) -> ContextGain:
        return ContextGain(np.array(bits), np.full(len(bits), 10.0))

    before = gains(*[5.0] * 10)
    assert judge_context(before, gains(*[5.5] * 10)).passed
    assert judge_context(before, gains(*[4.8] * 10)).passed, "5 % may be lost"
    assert judge_context(before, gains(*[1.0, 9.5] * 5)).passed
    assert not judge_context(before, gains(*[4.7] * 10)).passed
    nothing = gains(*[0.0] * 10)
    assert judge_context(nothing, nothing).passed
    assert not judge_context(nothing, gains(*[-1.0] * 10)).passed


def test_the_worth_of_history_is_what_it_saves(trained: Path, tokenizer: Tokenizer) -> None:
    bot = load_bot(trained, "float32")
    corpus = lessons_module._corpus(list(talks_of(tokenizer, "bot", asked(3))))
    found = ContextGain.of(bot, corpus, "bot")
    for index in range(3):
        heard, answer = corpus.messages(index)
        given = bot.decoder.score([[heard, answer]], bot.decoder.initial_state(1))[0][0][1]
        alone = bot.decoder.score([[answer]], bot.decoder.initial_state(1))[0][0][0]
        assert found.bits[index] == pytest.approx((alone - given) / np.log(2), rel=1e-4)


def test_loops_are_seen() -> None:
    assert loops([5, 6] * 6, "")
    assert loops([], "i like the sea and i like the sea")
    assert not loops([5, 6, 7, 8], "i like the sea and the land")


def test_a_sample_is_kept_within_its_limits(tmp_path: Path, tokenizer: Tokenizer) -> None:
    talks = list(talks_of(tokenizer, "bot", asked(30)))
    first, second, third, nothing = corpora = [
        lessons_module._corpus(talks[:n]) for n in (20, 10, 5, 0)
    ]
    sources = tuple(talk.source for talk in talks[:5]), ()
    whole = Replay(first, second, third, nothing, *sources)
    write_replay(tmp_path, whole, tokenizer)
    found = read_replay(tmp_path, tokenizer)
    assert found is not None
    parts = found.train, found.held_out, found.later, found.later_held_out
    assert [each.digest for each in parts] == [each.digest for each in corpora]
    assert (found.sources, found.held_out_sources) == sources
    few = drawn(corpora[0], 100)
    assert 0 < len(few.ids) <= 100
    assert Corpus.joined(NOTHING, NOTHING).digest == NOTHING.digest
    content = bytearray((tmp_path / REPLAY).read_bytes())
    content[-3] ^= 255
    (tmp_path / REPLAY).write_bytes(content)
    with pytest.raises(ElmanError, match="damaged"):
        read_replay(tmp_path, tokenizer)


@pytest.fixture
def elman(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["elman", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


Elman = Callable[..., tuple[int, str, str]]


def test_the_command_learns_what_was_taught(home: Path, tmp_path: Path, elman: Elman) -> None:
    db = ("--db", tmp_path / "memory.db")
    code, _, err = elman("learn", home, "--from-feedback", *db)
    assert code == 2
    assert err.count("\n") == 1
    assert "there is no feedback yet" in err
    taught = TaughtReplies(home)
    for each in asked(9):
        taught.teach(each.asked, each.answer)
    code, _, err = elman("learn", home, "--from-feedback", *db)
    assert code == 2
    assert "9 turns in 9 " in err
    assert "needs 10 turns" in err
    for each in asked(30):
        taught.teach(each.asked, each.answer)
    code, out, _ = elman("learn", home, "--from-feedback", "--json", *db)
    report = json.loads(out)
    assert (code, report["failed"]) == ((0, []) if report["version"] else (1, report["failed"]))
    assert report["learned"]["people"] == {"you": 24}


def test_a_refusal_is_told_and_is_no_mistake(
    home: Path, tmp_path: Path, elman: Elman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "judge_new", lambda *costs: judge_new(costs[1], costs[0]))
    taught = TaughtReplies(home)
    for each in asked(30):
        taught.teach(each.asked, each.answer)
    code, out, _ = elman("learn", home, "--from-feedback", "--db", tmp_path / "memory.db")
    assert code == 1
    assert f"{home} stays as it was: the update failed at new held-out talk" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to learn"),
        (["--history", "--from-feedback"], "give it nothing to learn"),
        (["--history"], "has learned nothing yet"),
        (["--from-feedback", "--out", "x.svg"], "where --history writes"),
        (["nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes_end_in_one_sentence(
    home: Path, tmp_path: Path, elman: Elman, arguments: list[str], said: str
) -> None:
    code, _, err = elman("learn", home, *arguments, "--db", tmp_path / "memory.db")
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", BUILT_IN_BOTS)
def test_what_comes_with_elman_stays_as_it_is(name: str) -> None:
    with pytest.raises(ElmanError, match=f"{name}: comes with Elman and stays as it is"):
        learn(Path(name), asked(20))


def test_two_do_not_learn_at_once(home: Path) -> None:
    with only_one(home, print), pytest.raises(ElmanError, match="is being trained by"):
        learn(home, asked(20))


def test_a_full_disk_leaves_the_bot_as_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_bot(home).made_by

    def full(folder: Path, *given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(revision, "save_weights", full)
    with pytest.raises(ElmanError, match="No space left on device; the bot is as it was"):
        learn(home, asked(40))
    assert load_bot(home).made_by == first
    assert not [path for path in (home / "versions").iterdir() if path.name.startswith(".")]


def test_the_curve_follows_the_versions(home: Path, tmp_path: Path, elman: Elman) -> None:
    for number in (0, 40):
        new = [Exchange("you", f"and {each.asked}", each.answer) for each in asked(number + 20)]
        learn(home, new[number:], settings=UpdateSettings(gate=False, epochs=1))
    points = curve(versions.versions(home))
    assert [point.by for point in points] == ["train", "learn", "learn"]
    assert all(point.first_held_out for point in points)
    assert points[0].new_after is None
    assert points[2].new_before
    assert table(points, points[2].version).splitlines()[3].startswith(f"* {points[2].version}")
    assert drawing(points).count("<circle") == 3 + 2 + 2
    for suffix in ("svg", "html", "png"):
        out = tmp_path / f"curve.{suffix}"
        code, said, _ = elman("learn", home, "--history", "--out", out)
        assert code == 0
        assert said.splitlines() == table(points, points[2].version).splitlines()
        assert out.stat().st_size > 1000
    code, _, err = elman("learn", home, "--history", "--out", tmp_path / "curve.pdf")
    assert code == 2
    assert "expected a name that ends in" in err


def test_feedback_of_the_page_is_learned(home: Path, tmp_path: Path) -> None:
    """Thumbs up and better replies; what was called bad, or is another bot's, is not."""
    from elman.cli.learn import _exchanges

    def given(model: str, rating: str | None, instead: str | None) -> dict[str, object]:
        said = [{"role": "user", "content": "hello"}]
        return {
            "model": model, "rating": rating, "instead": instead, "output": "made",
            "messages": said,
        }  # fmt: skip

    feedback = [
        given("ann", "up", None), given("ann", "down", None), given("ann", "down", "better"),
        given("bob", "up", None),
    ]  # fmt: skip
    found = list(_exchanges("local", "ann", iter(feedback)))
    assert found == [Exchange("you", "hello", "made"), Exchange("you", "hello", "better")]


def test_a_store_tells_what_bots_said(tmp_path: Path, home: Path) -> None:
    from elman.chat import Session

    with MemoryStore(tmp_path / "memory.db") as store:
        session = Session(load_bot(home), store=store, name="tea")
        said = "".join(session.say("what is 1 plus 2?"))
        with store.reading() as connection:
            assert store.said_by_bots(connection) == {said}


def test_weights_follow_the_sample(home: Path) -> None:
    """A second update replays what the first learned."""
    learn(home, asked(20), settings=UpdateSettings(gate=False, epochs=1))
    bot = load_bot(home)
    assert len(Past.of(bot).talk.later) == 16
    assert (folder_of(home) / WEIGHTS).exists()
