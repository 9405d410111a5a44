"""What is chosen where nobody says, and starting from a bot that knows something already."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.data.config import KEPT_REPLIES
from elman.data.tokenizer import SMALLEST, Tokenizer
from elman.errors import ElmanError
from elman.model.checkpoint import load_bot
from elman.train import Config, recipe, resume, train
from elman.train import prepare as prepare_module
from elman.train.config import TrainConfig
from elman.train.prepare import bytes_per_piece, prepare
from elman.train.recipe import (
    MIN_PASSES_FROM_BASE,
    POINTER_TOKENS,
    SMALL_DATA_BYTES,
    VOCABULARY_BY_BYTES,
    choose,
    describe,
)
from elman.train.runlog import Tell
from elman.train.schedule import Budget

Make = Callable[..., Config]
Events = list[tuple[str, dict[str, Any]]]


def config(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"data": {"path": "a"}, "model": {}, "train": {"minutes": 10}}
    for name, section in sections.items():
        values[name] = values[name] | section
    return Config.make(values)


def test_little_text_is_learned_byte_by_byte_and_more_in_more_pieces() -> None:
    found = [choose(config(), 10**power).data.vocabulary for power in range(3, 8)]
    assert found == [SMALLEST, SMALLEST, 1024, 4096, 4096]
    for least, vocabulary in VOCABULARY_BY_BYTES.items():
        assert choose(config(), least).data.vocabulary == vocabulary
        assert choose(config(), max(0, least - 1)).data.vocabulary <= vocabulary


@pytest.mark.parametrize(
    ("epochs", "dropout"), [(1, 0.0), (3.9, 0.0), (4, 0.1), (11, 0.1), (12, 0.2), (90, 0.2)]
)
def test_what_is_read_often_is_learned_with_more_dropout(epochs: float, dropout: float) -> None:
    asked = Config.make({"data": {"path": "a"}, "train": {"epochs": epochs}})
    assert choose(asked, 10**7).model.dropout == dropout


@pytest.mark.parametrize("size", [SMALL_DATA_BYTES - 1, 10 * SMALL_DATA_BYTES])
def test_passes_are_counted_in_every_budget(size: int) -> None:
    for name, little, much in (("minutes", 1e-3, 1e4), ("steps", 1, 10**6)):
        for budget, dropout in ((little, 0.0), (much, 0.2)):
            asked = Config.make({"data": {"path": "a"}, "train": {name: budget}})
            assert choose(asked, size).model.dropout == dropout


def test_messages_are_counted_in_messages() -> None:
    chosen = choose(config(model={"memory": "messages"}), SMALL_DATA_BYTES - 1)
    assert (chosen.unfold, chosen.lanes) == (5, 8)


@pytest.mark.parametrize("size", [SMALL_DATA_BYTES - 1, SMALL_DATA_BYTES])
def test_every_bot_can_copy(size: int) -> None:
    assert choose(config(), size).model.pointer == POINTER_TOKENS
    assert choose(config(model={"memory": "messages"}), size).model.pointer == POINTER_TOKENS
    without = choose(config(model={"pointer": 0}), size).model
    assert (without.pointer, without.ngrams) == (0, 0)
    assert choose(config(), size).model.ngrams == 4
    assert choose(config(model={"pointer": 3}), size).model.ngrams == 3
    assert choose(config(model={"ngrams": 2}), size).model.ngrams == 2


def test_of_much_more_text_than_the_minutes_read_some_is_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: 2e11)
    most = [choose(config(), size).data.most_bytes for size in (10**6, 10**7, 10**9)]
    assert most[:2] == [None, None]
    assert most[2] is not None
    assert recipe.MIN_SELECTED_BYTES < most[2] < 10**8
    assert choose(config(data={"most_bytes": 10**9}), 10**9).data.most_bytes == 10**9
    epochs = Config.make({"data": {"path": "a"}, "train": {"epochs": 1}})
    assert choose(epochs, 10**9).data.most_bytes is None


def test_a_run_goes_on_with_the_text_that_was_chosen(tmp_path: Path, make_config: Make) -> None:
    events: Events = []
    asked = make_config(**{"data.most_bytes": 400})
    first = train(asked, tmp_path, observers=(lambda kind, facts: events.append((kind, facts)),))
    assert any("400 bytes of" in facts.get("text", "") for _, facts in events)
    (start,) = (facts for kind, facts in events if kind == "start")
    assert 0 < start["conversations"] < len(prepare(make_config(), Tell(())).train)
    assert resume(tmp_path, budget={"steps": first.steps + 1}).steps == first.steps + 1


def test_more_minutes_never_choose_a_smaller_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: 2e11)
    sizes = [
        choose(config(train={"minutes": minutes}), 10**7).model.hidden_size
        for minutes in (1, 3, 10, 30, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_faster_machine_trains_a_larger_network_in_the_same_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []
    for rate in (1e10, 2e12, 4e13):
        monkeypatch.setattr(recipe, "product_rate", lambda dtype, rate=rate: rate)
        sizes.append(choose(config(), 10**7).model.hidden_size)
    assert sizes == [256, 384, 512]


def test_replies_are_kept_as_the_minutes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: 2e11)
    kept = [
        choose(config(train={"minutes": minutes}), 10**7).data.replies for minutes in (0.1, 3, 100)
    ]
    assert kept[0] == recipe.MIN_KEPT_REPLIES < kept[1] < kept[2] == KEPT_REPLIES
    unlimited = config(train={"steps": 10, "minutes": None})
    assert choose(unlimited, 10**7).data.replies == KEPT_REPLIES
    assert choose(config(data={"replies": 7}), 10**7).data.replies == 7


@pytest.mark.parametrize("size", [10_000, 10**7])
def test_what_was_given_stays(size: int) -> None:
    given: dict[str, dict[str, Any]] = {
        "data": {"vocabulary": 777},
        "model": {"layers": 3, "hidden_size": 100, "dropout": 0.3, "cell": "gru"},
        "train": {"lanes": 5, "unfold": 7, "minutes": 1, "lr": 0.5},
    }
    chosen = choose(config(**given), size)
    for name, section in given.items():
        for key, value in section.items():
            assert getattr(getattr(chosen, name), key) == value


def test_it_says_what_and_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: 4e11)
    (line,) = describe(choose(config(), 8_100_000), 8_100_000)
    beginning = "8.1 MB, 10 minutes: 2 x LSTM 256, copying from the last 256 tokens, "
    beginning += "counting up to 4 in a row, 4,096 pieces, "
    assert line.startswith(beginning)
    assert "pass" in line
    (line,) = describe(choose(config(train={"minutes": 0.01}), 10**9), 10**9)
    assert "% of the conversations" in line
    assert "minutes would read all of them once" in line
    steps = Config.make({"data": {"path": "a"}, "train": {"steps": 9}})
    (line,) = describe(choose(steps, 8_100_000), 8_100_000)
    sizes = "2 x LSTM 384, copying from the last 256 tokens, counting up to 4 in a row"
    assert line == f"8.1 MB, 9 steps: {sizes}, 4,096 pieces"


def test_too_little_text_for_a_start_from_nothing() -> None:
    first, _ = describe(choose(config(), 3_000), 3_000)
    assert first.startswith("3 KB teach no language")
    assert "let it start from the base" in first


def test_passes_can_end_a_budget() -> None:
    budget = Budget(TrainConfig(minutes=10, most_epochs=4))
    assert budget.spent(seconds=60, epochs=1, steps=9) == 0.25
    assert budget.spent(seconds=450, epochs=1, steps=9) == 0.75
    assert Budget(TrainConfig(steps=10)).spent(seconds=1, epochs=1, steps=5) == 0.5


def test_a_round_has_what_is_left() -> None:
    budget = Budget(TrainConfig(minutes=10, most_epochs=4))
    assert budget.enough(seconds=120, epochs=4, steps=9)
    budget.begin(seconds=120, epochs=4, steps=9)
    assert budget.spent(seconds=120, epochs=4, steps=9) == 0
    assert budget.spent(seconds=121, epochs=6, steps=9) == 0.5
    assert budget.spent(seconds=360, epochs=4, steps=9) == pytest.approx(0.5, abs=1e-12)
    assert not budget.enough(seconds=550, epochs=8, steps=9)


def test_reading_that_took_all_minutes_leaves_no_round() -> None:
    budget = Budget(TrainConfig(minutes=1))
    budget.begin(seconds=61, epochs=0, steps=0)
    assert budget.spent(seconds=62, epochs=0, steps=0) == 1


def test_another_round_follows_one_that_gained(tmp_path: Path, make_config: Make) -> None:
    short = {"train__most_epochs": 1.0, "train__minutes": 10, "train__validations": 1}
    still = make_config(**short, train__lr=1e-9)
    _, events = run(tmp_path / "still", still)
    assert not rounds(events)[1:]
    assert dict(events)["end"]["reason"] == "finished"
    events.clear()

    def enough() -> bool:  # each round of sums gains for a long time
        return len(rounds(events)) == 2

    train(
        make_config(**short, train__lr=3e-3),
        tmp_path / "moving",
        observers=(lambda kind, facts: events.append((kind, facts)),),
        stop=enough,
    )
    assert [f["epochs"] for k, f in events if k == "step"][-1] >= 2


def rounds(events: Events) -> list[str]:
    return [f["text"] for k, f in events if k == "note" and "another 1 passes" in f["text"]]


def run(tmp_path: Path, settings: Config) -> tuple[Path, Events]:
    events: Events = []
    train(settings, tmp_path / "bot", observers=(lambda kind, facts: events.append((kind, facts)),))
    return tmp_path / "bot", events


def from_base(chats: Path, base: Path, **more: Any) -> Config:
    settings = {"base": str(base), "steps": 1, "lr": 1e-9, "precision": "float32"}
    data = {"path": str(chats), "bot": "Ann", "learn_from": "bot"}
    return Config.make({"data": data, "train": settings, **more})


def test_the_base_is_started_from_where_the_minutes_are_enough_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = load_bot("base")
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: 1e11)
    few, many = (
        recipe.passes_from(base, config(train={"minutes": minutes}), 2_000_000)
        for minutes in (1, 100)
    )
    assert few < MIN_PASSES_FROM_BASE < many == pytest.approx(100 * few)
    asked = config(train={"minutes": None, "epochs": 3.0})
    assert recipe.passes_from(base, asked, 2_000_000) == 3


@pytest.mark.parametrize(("rate", "start"), [(1e8, None), (1e14, "base")])
def test_auto_says_what_it_starts_from(
    chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, start: str | None
) -> None:
    monkeypatch.setattr(recipe, "product_rate", lambda dtype: rate)
    settings = {"train": {"minutes": 0.01, "base": "auto", "precision": "float32"}}
    asked = Config.make({"data": {"path": str(chats), "bot": "Ann"}, **settings})
    events: Events = []
    found = prepare(asked, Tell((lambda kind, facts: events.append((kind, facts)),)))
    assert found.config.train.base == start
    assert (found.base is None) == (start is None)
    said = [facts["text"] for kind, facts in events if kind == "note"]
    assert any("--base base starts from the base" in line for line in said) == (start is None)
    assert any("from base" in line for line in said) == (start is not None)


def test_a_bot_begins_as_its_base(chats: Path, trained: Path, tmp_path: Path) -> None:
    out, events = run(tmp_path, from_base(chats, trained))
    one, other = load_bot(trained), load_bot(out)
    assert one.tokenizer.digest == other.tokenizer.digest
    assert other.config["data"]["vocabulary"] == one.tokenizer.vocabulary_size
    for name, tensor in one.chatbot.state_dict().items():
        # One step of 1e-9, and half precision is not at work here.
        torch.testing.assert_close(other.chatbot.state_dict()[name], tensor, rtol=0, atol=1e-7)
    said = [facts["text"] for kind, facts in events if kind == "note"]
    assert any(line.endswith(f"from {trained}") for line in said)


def test_sizes_that_are_not_the_base_s_are_refused(chats: Path, trained: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"model": {"hidden_size": 17}}, "hidden_size is 17, and 16 in .*--base none"),
        ({"model": {"cell": "gru"}}, "cell is gru, and lstm in"),
    ]
    for section, message in refused:
        with pytest.raises(ElmanError, match=message):
            choose(from_base(chats, trained, **section), 1000, load_bot(trained))
    asked = from_base(chats, trained)
    asked = Config.make(
        asked.model_dump() | {"data": {"path": "a", "vocabulary": 300}, "model": {}}
    )
    with pytest.raises(ElmanError, match="has pieces of text of its own"):
        choose(asked, 1000, load_bot(trained))


def test_minutes_are_a_limit_where_epochs_and_steps_are_a_wish(chats: Path, trained: Path) -> None:
    base = load_bot(trained)
    for budget, most in (("minutes", 8.0), ("epochs", None), ("steps", None)):
        asked = Config.make({"data": {"path": str(chats)}, "train": {budget: 50, "base": "b"}})
        assert choose(asked, 1000, base).train.most_epochs == most


def test_a_new_budget_is_not_ended_by_the_old_one_s_passes(
    tmp_path: Path, make_config: Make
) -> None:
    out = tmp_path / "bot"
    train(make_config(train__minutes=10, train__most_epochs=1.0, train__lr=1e-9), out)
    before = load_bot(out).config["train"]
    assert before["most_epochs"] == 1.0
    assert resume(out, budget={"epochs": 2.0}).reason == "finished"
    after = load_bot(out).config["train"]
    assert (after["minutes"], after["most_epochs"], after["epochs"]) == (None, None, 2.0)


def test_other_dropout_fits_every_base(chats: Path, trained: Path) -> None:
    asked = from_base(chats, trained, model={"dropout": 0.4})
    assert choose(asked, 1000, load_bot(trained)).model.dropout == 0.4


def test_a_base_without_a_pointer_gets_one(chats: Path, trained: Path, tmp_path: Path) -> None:
    """And keeps it: of a bot with a pointer, it can be made longer, and left out."""
    base = load_bot(trained)
    out, events = run(tmp_path, from_base(chats, trained, model={"pointer": 32}))
    said = [facts["text"] for kind, facts in events if kind == "note"]
    assert any("LSTM 16, copying from the last 32 tokens, " in line for line in said)
    pointing = load_bot(out)
    assert pointing.config["model"]["pointer"] == 32
    own, weights = base.chatbot.state_dict(), pointing.chatbot.state_dict()
    assert {name.partition(".")[0] for name in weights.keys() - own.keys()} == {"pointer", "ngrams"}
    for name, tensor in own.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-7)
    assert choose(from_base(chats, out), 1000, pointing).model.pointer == 32
    for pointer in (64, 0):
        asked = from_base(chats, out, model={"pointer": pointer})
        again, _ = run(tmp_path / str(pointer), asked)
        assert load_bot(again).config["model"]["pointer"] == pointer


def test_counting_needs_a_pointer(chats: Path, trained: Path) -> None:
    with pytest.raises(ElmanError, match=r"ngrams 3 needs a pointer .* has none: add"):
        choose(from_base(chats, trained, model={"ngrams": 3}), 1000, load_bot(trained))


def test_a_base_of_messages_gets_one_too(chats: Path, make_config: Make, tmp_path: Path) -> None:
    base, _ = run(tmp_path, make_config(model__memory="messages", train__steps=1))
    out, _ = run(tmp_path / "pointing", from_base(chats, base, model={"pointer": 32}))
    assert load_bot(out).config["model"]["pointer"] == 32


@pytest.mark.slow
def test_another_language_starts_from_nothing(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    words = ["привет", "как", "дела", "сегодня", "хорошо", "спасибо", "погода", "дом", "город"]
    lines = [
        f"{'AB'[n % 2]}: " + " ".join(words[(n * k) % len(words)] for k in range(1, 9))
        for n in range(400)
    ]
    other.write_text("\n".join(lines), "utf-8")

    values = {"data": {"path": str(other)}, "model": {"hidden_size": 16}}
    asked = {"base": "auto", "epochs": 1.0}
    out, events = run(tmp_path, Config.make(values | {"train": asked}))
    said = " ".join(facts["text"] for kind, facts in events if kind == "note")
    assert "the base was made for other text than this" in said
    assert "starts from nothing" in said
    assert "let it start from the base" not in said
    assert load_bot(out).config["train"]["base"] is None
    assert load_bot(out).tokenizer.digest != load_bot("base").tokenizer.digest


@pytest.mark.parametrize(
    ("size", "own", "starts"),
    [(10**6, 2.5, True), (10**6, 2.3, False), (10**5, 1.6, True), (10**5, 1.4, False)],
)
def test_little_text_leaves_a_base_less_easily(
    chats: Path, size: int, own: float, starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a task's own few words, as in another language: 3 bytes are a new piece's length."""
    monkeypatch.setattr(prepare_module, "bytes_per_piece", lambda *_: (own, 3.0))
    asked = Config.make({"data": {"path": str(chats)}, "train": {"base": "auto", "epochs": 1.0}})
    found = prepare_module._base(asked, [], size, Tell(()))
    assert (found is not None) == starts


def test_a_base_that_was_asked_for_is_started_from(
    chats: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "bytes_per_piece", lambda *_: (1.0, 3.0))
    told: list[str] = []
    tell = Tell((lambda _, facts: told.append(facts["text"]),))
    found = prepare_module._base(from_base(chats, trained), [], 10**6, tell)
    assert found is not None
    assert found.path == load_bot(trained).path
    (line,) = told
    assert "the base was made for other text than this" in line
    assert "--base none may well learn more" in line


def test_pieces_are_compared_on_text_that_the_new_ones_have_not_seen() -> None:
    texts = [f"this is line {n} of some lines" for n in range(300)]
    tokenizer = Tokenizer.train(texts, 320)
    own, fresh = bytes_per_piece(tokenizer, texts)
    assert own == pytest.approx(fresh, rel=0.1)
    plain, fresh = bytes_per_piece(Tokenizer.train([], SMALLEST), texts)
    assert plain == 1
    assert fresh == 1, "as large as the other: bytes too"


def test_pieces_are_learned_of_both_who_take_turns() -> None:
    texts = ["where shall we meet tomorrow", "kommen sie bitte herein"] * 100
    own, fresh = bytes_per_piece(Tokenizer.train(texts, 400), texts)
    assert own == fresh


def test_a_base_of_another_version(chats: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    saved = json.loads((other / "config.json").read_text("utf-8"))
    (other / "config.json").write_text(json.dumps(saved | {"format": 99, "elman": "9.9"}))
    with pytest.raises(ElmanError, match=r"other.*of format 99, made by Elman 9\.9"):
        run(tmp_path, from_base(chats, other))


def test_a_base_that_is_not_there(chats: Path, tmp_path: Path) -> None:
    with pytest.raises(ElmanError, match="no bot here"):
        run(tmp_path, from_base(chats, tmp_path / "none"))
