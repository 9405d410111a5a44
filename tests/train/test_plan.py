"""What is chosen where nobody says, and starting from a bot that knows something already."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.data.config import KEPT_REPLIES
from elman.data.corpus import Corpus
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.model.config import ModelConfig
from elman.model.folder import BASE as BASE_FOLDER
from elman.model.folder import BUILT_IN_BOTS, read_config, read_tokenizer
from elman.train import Config, choices, resume, train
from elman.train import prepare as prepare_module
from elman.train.choices import (
    LR_FROM_BASE,
    LR_FROM_BASE_OF_TINY_DATA,
    MIN_PASSES_FROM_BASE,
    POINTER_TOKENS,
    SMALL_DATA_BYTES,
    TINY_DATA_BYTES,
    VOCABULARY_BY_BYTES,
    BaseFacts,
    passes_from_base,
)
from elman.train.config import TrainConfig
from elman.train.machine import Machine
from elman.train.plan import DataFacts, Plan, resolve
from elman.train.prepare import likeliest_base, measure_token_bytes, prepare
from elman.train.runlog import Tell
from elman.train.schedule import Budget

Make = Callable[..., Config]
Events = list[tuple[str, dict[str, Any]]]


def config(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {
        "data": {"path": "a"},
        "model": {},
        "train": {"minutes": 10, "base": "none"},
    }
    for name, section in sections.items():
        values[name] = values[name] | section
    return Config.make(values)


class Speeds(dict[int, float]):
    """As fast in float32, whatever the size."""

    def __missing__(self, size: int) -> float:
        return 0.5


def machine(rate: float = 2e11) -> Machine:
    return Machine(rate, rate, Speeds(), "")


def facts(text_bytes: int, base: BaseFacts | None = None, **changes: Any) -> DataFacts:
    found = DataFacts(text_bytes, None, "user", (), None, (), "the newest", base)
    return replace(found, **changes)


def base_facts(folder: Path | str = "base", own: float = 3.0, new: float = 3.0) -> BaseFacts:
    path = BASE_FOLDER if folder == "base" else Path(folder)
    model = ModelConfig.model_validate(read_config(path)["model"])
    vocabulary_size = read_tokenizer(path).vocabulary_size
    return BaseFacts(str(folder), str(path), model, vocabulary_size, own, new)


def choose(
    asked: Config, text_bytes: int, base: BaseFacts | None = None, rate: float = 2e11
) -> Config:
    return resolve(asked, facts(text_bytes, base), machine(rate)).config


def describe(asked: Config, text_bytes: int, rate: float = 2e11) -> tuple[str, ...]:
    """All that is said of a plan but how precise its products are."""
    return resolve(asked, facts(text_bytes), machine(rate)).notes[:-1]


def test_little_text_is_learned_byte_by_byte_and_more_in_a_larger_vocabulary() -> None:
    found = [choose(config(), 10**power).data.vocabulary for power in range(3, 8)]
    assert found == [MIN_VOCABULARY_SIZE, MIN_VOCABULARY_SIZE, 1024, 4096, 4096]
    for least, vocabulary in VOCABULARY_BY_BYTES.items():
        assert choose(config(), least).data.vocabulary == vocabulary
        assert choose(config(), max(0, least - 1)).data.vocabulary <= vocabulary


@pytest.mark.parametrize(
    ("epochs", "dropout"), [(1, 0.0), (3.9, 0.0), (4, 0.1), (11, 0.1), (12, 0.2), (90, 0.2)]
)
def test_what_is_read_often_is_learned_with_more_dropout(epochs: float, dropout: float) -> None:
    asked = config(train={"minutes": None, "epochs": epochs})
    assert choose(asked, 10**7).model.dropout == dropout


@pytest.mark.parametrize("size", [SMALL_DATA_BYTES - 1, 10 * SMALL_DATA_BYTES])
def test_passes_are_counted_in_every_budget(size: int) -> None:
    for name, little, much in (("minutes", 1e-3, 1e4), ("steps", 1, 10**6)):
        for budget, dropout in ((little, 0.0), (much, 0.2)):
            asked = config(train={"minutes": None, name: budget})
            assert choose(asked, size).model.dropout == dropout


def test_messages_are_counted_in_messages() -> None:
    chosen = choose(config(model={"memory": "messages"}), SMALL_DATA_BYTES - 1)
    assert (chosen.train.unfold, chosen.train.batch_size) == (5, 8)


@pytest.mark.parametrize("size", [SMALL_DATA_BYTES - 1, SMALL_DATA_BYTES])
def test_every_bot_can_copy(size: int) -> None:
    assert choose(config(), size).model.pointer == POINTER_TOKENS
    assert choose(config(model={"memory": "messages"}), size).model.pointer == POINTER_TOKENS
    without = choose(config(model={"pointer": 0}), size).model
    assert (without.pointer, without.ngrams) == (0, 0)
    assert choose(config(), size).model.ngrams == 4
    assert choose(config(model={"pointer": 3}), size).model.ngrams == 3
    assert choose(config(model={"ngrams": 2}), size).model.ngrams == 2


def test_what_a_bot_repeats_is_learned_with_invented_words_too(tmp_path: Path) -> None:
    towns = ["rome", "paris", "oslo", "lima", "cairo", "delhi", "accra", "quito"]
    path = tmp_path / "tasks.jsonl"
    with path.open("w") as file:
        for number in range(80):
            town = towns[number % 8]
            said = [("a", "hello"), ("b", "where to"), ("a", f"{town} please"), ("b", f"go {town}")]
            turns = [{"speaker": who, "text": text} for who, text in said]
            file.write(json.dumps({"id": str(number), "turns": turns}) + "\n")
    # Near duplicates of what is learned would leave nothing held out: then it stays as it is.
    data = {"path": str(path), "bot": "b"}
    asked = config(data=data | {"invent": True}, train={"minutes": None, "steps": 1})
    events: Events = []
    found = prepare(asked, Tell((lambda kind, facts: events.append((kind, facts)),)))
    assert found.invented is not None
    assert found.dev is not None
    assert len(found.learned) == len(found.train) + len(found.invented)
    told = [facts["text"] for kind, facts in events if "invented words" in str(facts.get("text"))]
    assert told == [
        f"{len(found.invented):,} conversations are learned once more with invented words"
    ]

    def texts(corpus: Corpus) -> list[str]:
        return [
            found.tokenizer.decode(message[1:-1])
            for index in range(len(corpus))
            for message in corpus.messages(index)
        ]

    invented = [text.removeprefix("go ") for text in texts(found.invented)[3::4]]
    assert not set(invented) & set(towns)
    assert texts(found.learned) == texts(found.train) + texts(found.invented)
    assert {text.removeprefix("go ") for text in texts(found.train)[3::4]} == set(towns)
    plain = config(data=data, train={"minutes": None, "steps": 1})
    assert prepare(plain, Tell(())).learned.digest == found.train.digest


def test_of_much_more_text_than_the_minutes_read_some_is_learned() -> None:
    most = [choose(config(), size).data.max_text_bytes for size in (10**6, 10**7, 10**9)]
    assert most[:2] == [None, None]
    assert most[2] is not None
    assert choices.MIN_SELECTED_BYTES < most[2] < 10**8
    assert choose(config(data={"max_text_bytes": 10**9}), 10**9).data.max_text_bytes == 10**9
    epochs = config(train={"minutes": None, "epochs": 1})
    assert choose(epochs, 10**9).data.max_text_bytes is None


def test_a_run_goes_on_with_the_text_that_was_chosen(tmp_path: Path, make_config: Make) -> None:
    events: Events = []
    asked = make_config(**{"data.max_text_bytes": 400})
    first = train(asked, tmp_path, observers=(lambda kind, facts: events.append((kind, facts)),))
    assert any("400 bytes of" in facts.get("text", "") for _, facts in events)
    (start,) = (facts for kind, facts in events if kind == "start")
    assert 0 < start["conversations"] < len(prepare(make_config(), Tell(())).train)
    assert resume(tmp_path, budget={"steps": first.steps + 1}).steps == first.steps + 1


def test_more_minutes_never_choose_a_smaller_network() -> None:
    sizes = [
        choose(config(train={"minutes": minutes}), 10**7).model.hidden_size
        for minutes in (1, 3, 10, 30, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_a_faster_machine_trains_a_larger_network_in_the_same_minutes() -> None:
    sizes = [choose(config(), 10**7, rate=rate).model.hidden_size for rate in (1e10, 2e12, 4e13)]
    assert sizes == [256, 384, 512]


def test_replies_are_kept_as_the_minutes_allow() -> None:
    kept = [
        choose(config(train={"minutes": minutes}), 10**7).data.replies for minutes in (0.1, 3, 100)
    ]
    assert kept[0] == choices.MIN_KEPT_REPLIES < kept[1] < kept[2] == KEPT_REPLIES
    unlimited = config(train={"steps": 10, "minutes": None})
    assert choose(unlimited, 10**7).data.replies == KEPT_REPLIES
    assert choose(config(data={"replies": 7}), 10**7).data.replies == 7


@pytest.mark.parametrize("size", [10_000, 10**7])
def test_what_was_given_stays(size: int) -> None:
    given: dict[str, dict[str, Any]] = {
        "data": {"vocabulary": 777},
        "model": {"layers": 3, "hidden_size": 100, "dropout": 0.3, "cell": "gru"},
        "train": {"batch_size": 5, "unfold": 7, "minutes": 1, "lr": 0.5},
    }
    chosen = choose(config(**given), size)
    for name, section in given.items():
        for key, value in section.items():
            assert getattr(getattr(chosen, name), key) == value


def test_it_says_what_and_how_often() -> None:
    (line,) = describe(config(), 8_100_000, 4e11)
    beginning = "8.1 MB, 10 minutes: 2 x LSTM 256, copying from the last 256 tokens, "
    beginning += "counting up to 4 in a row, a vocabulary of 4,096, "
    assert line.startswith(beginning)
    assert "pass" in line
    line, selected = describe(config(train={"minutes": 0.01}), 10**9, 4e11)
    assert "% of the conversations" in line
    assert "minutes would read all of them once" in line
    assert selected.startswith("learned from are ")
    assert selected.endswith(" of 1000.0 MB, the newest (data.max_text_bytes)")
    (line,) = describe(config(train={"minutes": None, "steps": 9}), 8_100_000)
    sizes = "2 x LSTM 384, copying from the last 256 tokens, counting up to 4 in a row"
    assert line == f"8.1 MB, 9 steps: {sizes}, a vocabulary of 4,096"


def test_too_little_text_for_a_start_from_nothing() -> None:
    first, _ = describe(config(), 3_000)
    assert first.startswith("3 KB teach no language")
    assert "let it start from the base" in first


def test_what_is_measured_to_be_faster_is_taken_and_said() -> None:
    for speed, precision in ((1.24, "float32"), (1.26, "bfloat16")):
        plan = resolve(config(), facts(10**6), replace(machine(), bfloat16_speed={256: speed}))
        assert plan.config.train.precision == precision
        assert plan.notes[-1] == f"{precision}: bfloat16 is {speed:.2f} times as fast here"
    asked = config(train={"precision": "bfloat16"})
    for speed, said in ((0.1, True), (1.26, False)):
        plan = resolve(asked, facts(10**6), replace(machine(), bfloat16_speed={256: speed}))
        assert plan.config.train.precision == "bfloat16"
        assert plan.notes[-1].endswith("train.precision=auto would take float32") == said
    given = config(train={"precision": "float32"})
    slow = replace(machine(), bfloat16_speed={}, slow_loops="no compiler")
    assert resolve(given, facts(10**6), slow).notes[-1].endswith("slower: no compiler")


TABLES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "data": {
        "vocabulary": st.integers(260, 5000),
        "learn_from": st.sampled_from(["bot", "all"]),
        "max_text_bytes": st.integers(1, 10**9),
        "replies": st.integers(0, 10**5),
        "test": st.booleans(),
    },
    "model": {
        "memory": st.sampled_from(["tokens", "messages"]),
        "cell": st.sampled_from(["rnn", "gru", "lstm", "minlstm"]),
        "layers": st.integers(1, 4),
        "hidden_size": st.integers(1, 2000),
        "mlp": st.floats(0, 4),
        "pointer": st.integers(4, 1000),
        "ngrams": st.integers(0, 4),
        "dropout": st.floats(0, 0.9),
    },
    "train": {
        "base": st.sampled_from([None, "none", "auto", "base"]),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "muon"]),
        "lr": st.floats(1e-6, 1),
        "cycle_epochs": st.floats(0.1, 50),
        "batch_size": st.integers(1, 64),
        "unfold": st.integers(1, 500),
        "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
        "seed": st.integers(0, 10),
    },
}

BUDGET = st.one_of(
    st.just({}),
    st.builds(lambda value: {"minutes": value}, st.floats(0.01, 1e4)),
    st.builds(lambda value: {"epochs": value}, st.floats(0.01, 1e3)),
    st.builds(lambda value: {"steps": value}, st.integers(1, 10**6)),
)

MAY_BE_NONE = {
    "data.bot",  # all are peers
    "data.gap",  # nothing is cut
    "data.max_text_bytes",  # all of it
    "model.encoder_cell",  # as the cell
    "model.conversation_cell",
    "model.decoder_cell",
    "train.minutes",  # another budget
    "train.epochs",
    "train.steps",
    "train.cycle_epochs",  # one cycle for the whole budget
    "train.base",  # from nothing
    "reply.mmi_weight",  # found when training ends
}
"""Settings for which None is a value of its own, and nothing that is left to choose."""

BASE = base_facts()


@given(st.data())
def test_a_plan_is_whole_and_keeps_what_was_asked_for(data: st.DataObject) -> None:
    tables = {
        name: data.draw(st.fixed_dictionaries({}, optional=table)) for name, table in TABLES.items()
    }
    if tables["train"].get("base") in ("auto", "base"):  # its sizes are not to be given
        tables["data"].pop("vocabulary", None)
        addable = choices.ADDABLE_SETTINGS
        tables["model"] = {name: tables["model"][name] for name in addable & tables["model"].keys()}
    budget = data.draw(BUDGET)
    asked = Config.make(
        {**tables, "data": {"path": "a", **tables["data"]}, "train": tables["train"] | budget}
    )
    text_bytes = data.draw(st.integers(1, 10**10))
    own = data.draw(st.floats(1, 4))
    of_base = replace(BASE, token_bytes=own)
    found = facts(text_bytes, of_base, bot="Ann", others="names", known=("Bob",), gap=3600.0)
    fast = machine(data.draw(st.floats(1e8, 1e15)))
    plan = resolve(asked, found, fast)
    for name, table in tables.items():
        for key, value in table.items():
            if (key, value) not in (("base", "auto"), ("base", "none"), ("precision", "auto")):
                assert getattr(getattr(plan.config, name), key) == value
    given_budget = {name: getattr(plan.config.train, name) for name in budget}
    assert given_budget == budget
    written = json.loads(plan.config.model_dump_json())
    for name in TABLES:
        for key, value in written[name].items():
            assert value is not None or f"{name}.{key}" in MAY_BE_NONE, f"{name}.{key}"
    assert sum(written["train"][name] is not None for name in ("minutes", "epochs", "steps")) == 1
    assert "auto" not in (written["train"]["base"], written["train"]["precision"])
    assert all(plan.notes)
    again = Config.model_validate_json(plan.config.model_dump_json())
    assert resolve(again, found, fast).config == plan.config
    assert resolve(asked, found, fast) == plan, "nothing but what is given decides"


def test_without_a_word_it_learns_ten_minutes_from_the_base() -> None:
    asked = Config.make({"data": {"path": "a", "bot": "ann"}})
    plan = resolve(asked, facts(10**6, BASE, bot="Ann"), machine())
    found = plan.config
    assert (found.train.minutes, found.train.base) == (10, "base")
    assert (found.data.bot, found.data.learn_from) == ("Ann", "bot")
    assert isinstance(plan, Plan)
    sized = Config.make({"data": {"path": "a"}, "model": {"hidden_size": 64}})
    assert choose(sized, 10**6, BASE).train.base is None
    assert choose(sized, 10**6, BASE).data.learn_from == "all"


def test_passes_can_end_a_budget() -> None:
    budget = Budget(TrainConfig(minutes=10, cycle_epochs=4))
    assert budget.spent(seconds=60, epochs=1, steps=9) == 0.25
    assert budget.spent(seconds=450, epochs=1, steps=9) == 0.75
    assert Budget(TrainConfig(steps=10)).spent(seconds=1, epochs=1, steps=5) == 0.5


def test_a_cycle_has_what_is_left() -> None:
    budget = Budget(TrainConfig(minutes=10, cycle_epochs=4))
    assert budget.enough(seconds=120, epochs=4, steps=9)
    budget.begin(seconds=120, epochs=4, steps=9)
    assert budget.spent(seconds=120, epochs=4, steps=9) == 0
    assert budget.spent(seconds=121, epochs=6, steps=9) == 0.5
    assert budget.spent(seconds=360, epochs=4, steps=9) == pytest.approx(0.5, abs=1e-12)
    assert not budget.enough(seconds=550, epochs=8, steps=9)


def test_reading_that_took_all_minutes_leaves_no_cycle() -> None:
    budget = Budget(TrainConfig(minutes=1))
    budget.begin(seconds=61, epochs=0, steps=0)
    assert budget.spent(seconds=62, epochs=0, steps=0) == 1


def test_another_cycle_follows_one_that_gained(tmp_path: Path, make_config: Make) -> None:
    short = {"train__cycle_epochs": 1.0, "train__minutes": 10, "train__validations": 1}
    still = make_config(**short, train__lr=1e-9)
    _, events = run(tmp_path / "still", still)
    assert not cycles_after_the_first(events)[1:]
    assert dict(events)["end"]["reason"] == "finished"
    events.clear()

    def enough() -> bool:  # each cycle of sums gains for a long time
        return len(cycles_after_the_first(events)) == 2

    train(
        make_config(**short, train__lr=3e-3),
        tmp_path / "moving",
        observers=(lambda kind, facts: events.append((kind, facts)),),
        stop=enough,
    )
    assert [f["epochs"] for k, f in events if k == "step"][-1] >= 2


def cycles_after_the_first(events: Events) -> list[str]:
    return [f["text"] for k, f in events if k == "note" and "another cycle begins" in f["text"]]


def run(tmp_path: Path, settings: Config) -> tuple[Path, Events]:
    events: Events = []
    train(settings, tmp_path / "bot", observers=(lambda kind, facts: events.append((kind, facts)),))
    return tmp_path / "bot", events


def from_base(chats: Path, base: Path, **more: Any) -> Config:
    settings = {"base": str(base), "steps": 1, "lr": 1e-9, "precision": "float32"}
    data = {"path": str(chats), "bot": "Ann", "learn_from": "bot"}
    return Config.make({"data": data, "train": settings, **more})


def test_the_base_is_started_from_where_the_minutes_are_enough_for_it() -> None:
    few, many = (
        passes_from_base(config(train={"minutes": minutes}), BASE, 2_000_000, machine(1e11))
        for minutes in (1, 100)
    )
    assert few < MIN_PASSES_FROM_BASE < many == pytest.approx(100 * few)
    asked = config(train={"minutes": None, "epochs": 3.0})
    assert passes_from_base(asked, BASE, 2_000_000, machine(1e11)) == 3


@pytest.mark.parametrize(("rate", "start"), [(1e8, None), (1e14, "base")])
def test_auto_says_what_it_starts_from(
    chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, start: str | None
) -> None:
    monkeypatch.setattr(prepare_module, "measure_machine", lambda sizes: machine(rate))
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
    one, other = load_network_bot(trained), load_network_bot(out)
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
            choose(from_base(chats, trained, **section), 1000, base_facts(trained))
    asked = from_base(chats, trained)
    asked = Config.make(
        asked.model_dump() | {"data": {"path": "a", "vocabulary": 301}, "model": {}}
    )
    with pytest.raises(ElmanError, match="has a vocabulary of its own"):
        choose(asked, 1000, base_facts(trained))


def test_minutes_are_a_limit_where_epochs_and_steps_are_a_wish(chats: Path, trained: Path) -> None:
    base = base_facts(trained)
    for budget, most in (("minutes", 8.0), ("epochs", None), ("steps", None)):
        asked = Config.make({"data": {"path": str(chats)}, "train": {budget: 50, "base": "b"}})
        assert choose(asked, 1000, base).train.cycle_epochs == most


def test_tiny_data_are_learned_from_a_base_at_a_lower_rate(chats: Path, trained: Path) -> None:
    base = base_facts(trained)
    asked = Config.make({"data": {"path": str(chats)}, "train": {"base": "b"}})
    rates = [choose(asked, size, base).train.lr for size in (TINY_DATA_BYTES - 1, TINY_DATA_BYTES)]
    assert rates == [LR_FROM_BASE_OF_TINY_DATA, LR_FROM_BASE]
    assert rates == sorted(set(rates))
    given = asked.changed(train={"lr": 0.25, "base": "b"})
    assert choose(given, TINY_DATA_BYTES - 1, base).train.lr == 0.25


def test_a_new_budget_is_not_ended_by_the_old_one_s_passes(
    tmp_path: Path, make_config: Make
) -> None:
    out = tmp_path / "bot"
    train(make_config(train__minutes=10, train__cycle_epochs=1.0, train__lr=1e-9), out)
    before = load_network_bot(out).config["train"]
    assert before["cycle_epochs"] == 1.0
    assert resume(out, budget={"epochs": 2.0}).reason == "finished"
    after = load_network_bot(out).config["train"]
    assert (after["minutes"], after["cycle_epochs"], after["epochs"]) == (None, None, 2.0)


def test_other_dropout_fits_every_base(chats: Path, trained: Path) -> None:
    asked = from_base(chats, trained, model={"dropout": 0.4})
    assert choose(asked, 1000, base_facts(trained)).model.dropout == 0.4


def test_a_base_without_a_pointer_gets_one(chats: Path, trained: Path, tmp_path: Path) -> None:
    """And keeps it: of a bot with a pointer, it can be made longer, and left out."""
    base = load_network_bot(trained)
    out, events = run(tmp_path, from_base(chats, trained, model={"pointer": 32}))
    said = [facts["text"] for kind, facts in events if kind == "note"]
    assert any("LSTM 16, copying from the last 32 tokens, " in line for line in said)
    pointing = load_network_bot(out)
    assert pointing.config["model"]["pointer"] == 32
    own, weights = base.chatbot.state_dict(), pointing.chatbot.state_dict()
    assert {name.partition(".")[0] for name in weights.keys() - own.keys()} == {"pointer", "ngrams"}
    for name, tensor in own.items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-7)
    assert choose(from_base(chats, out), 1000, base_facts(out)).model.pointer == 32
    for pointer in (64, 0):
        asked = from_base(chats, out, model={"pointer": pointer})
        again, _ = run(tmp_path / str(pointer), asked)
        assert load_network_bot(again).config["model"]["pointer"] == pointer


def test_counting_needs_a_pointer(chats: Path, trained: Path) -> None:
    with pytest.raises(ElmanError, match=r"ngrams 3 needs a pointer .* has none: add"):
        choose(from_base(chats, trained, model={"ngrams": 3}), 1000, base_facts(trained))


def test_a_base_of_messages_gets_one_too(chats: Path, make_config: Make, tmp_path: Path) -> None:
    base, _ = run(tmp_path, make_config(model__memory="messages", train__steps=1))
    out, _ = run(tmp_path / "pointing", from_base(chats, base, model={"pointer": 32}))
    assert load_network_bot(out).config["model"]["pointer"] == 32


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
    assert "base was made for other text than this" in said
    assert "starts from nothing" in said
    assert "let it start from the base" not in said
    assert load_network_bot(out).config["train"]["base"] is None
    assert load_network_bot(out).tokenizer.digest != load_network_bot("base").tokenizer.digest


GERMAN = ["Wie geht es dir heute?", "Mir geht es gut, danke.", "Was machst du am Wochenende?"]
JAPANESE = ["今日は元気ですか。", "はい、とても元気です。", "週末は何をしますか。"]
ENGLISH = ["How are you today?", "I am fine, thank you.", "What do you do at the weekend?"]


@pytest.mark.parametrize(
    ("texts", "name"), [(GERMAN, "languages"), (JAPANESE, "languages"), (ENGLISH, "base")]
)
def test_auto_starts_from_who_has_read_the_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], name: str
) -> None:
    assert likeliest_base(texts) == name
    monkeypatch.setattr(prepare_module, "measure_machine", lambda sizes: machine())
    chats = tmp_path / "chats.txt"
    lines = [f"{'AB'[n % 2]}: {texts[n % 3]}" for n in range(60)]
    chats.write_text("\n".join(lines), "utf-8")
    values = {"data": {"path": str(chats)}, "train": {"base": "auto", "precision": "float32"}}
    found = prepare(Config.make(values), Tell(()))
    assert found.config.train.base == name
    assert found.base is not None
    assert found.base.path == BUILT_IN_BOTS[name]
    assert found.config.model.hidden_size == base_facts(BUILT_IN_BOTS[name]).model.hidden_size


@pytest.mark.parametrize(("size", "starts"), [(SMALL_DATA_BYTES - 1, True), (10**7, False)])
def test_much_text_leaves_a_small_base(size: int, starts: bool) -> None:
    small = base_facts(BUILT_IN_BOTS["languages"])
    asked = config(train={"base": "auto", "minutes": None, "epochs": 1.0})
    plan = resolve(asked, facts(size, small), machine())
    assert (plan.config.train.base is not None) == starts
    assert any("too small for this much text" in note for note in plan.notes) != starts
    named = config(train={"base": str(BUILT_IN_BOTS["languages"]), "minutes": None, "epochs": 1.0})
    assert resolve(named, facts(size, small), machine()).config.train.base is not None


@pytest.mark.parametrize(
    ("size", "own", "starts"),
    [(10**6, 2.5, True), (10**6, 2.3, False), (10**5, 1.6, True), (10**5, 1.4, False)],
)
def test_little_text_leaves_a_base_less_easily(size: int, own: float, starts: bool) -> None:
    """In a task's own few words, as in another language: 3 bytes are a new token's length."""
    asked = config(train={"base": "auto", "minutes": None, "epochs": 1.0})
    found = choose(asked, size, replace(BASE, token_bytes=own, new_token_bytes=3.0))
    assert (found.train.base is not None) == starts


def test_a_base_that_was_asked_for_is_started_from(chats: Path, trained: Path) -> None:
    base = base_facts(trained, 1.0, 3.0)
    plan = resolve(from_base(chats, trained), facts(10**6, base), machine())
    assert plan.config.train.base == str(trained)
    line, _ = plan.notes
    assert "was made for other text than this" in line
    assert "--base none may well learn more" in line


def test_tokens_are_compared_on_text_that_the_new_ones_have_not_seen() -> None:
    texts = [f"this is line {n} of some lines" for n in range(300)]
    tokenizer = Tokenizer.train(texts, 320)
    own, fresh = measure_token_bytes(tokenizer, texts)
    assert own == pytest.approx(fresh, rel=0.1)
    plain, fresh = measure_token_bytes(Tokenizer.train([], MIN_VOCABULARY_SIZE), texts)
    assert plain == 1
    assert fresh == 1, "as large as the other: bytes too"


def test_tokens_are_learned_of_both_who_take_turns() -> None:
    texts = ["where shall we meet tomorrow", "kommen sie bitte herein"] * 100
    own, fresh = measure_token_bytes(Tokenizer.train(texts, 400), texts)
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
