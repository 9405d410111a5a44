"""Bots that somebody made to do harm: one sentence, no code of theirs run, nothing allocated."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from elman import load_network_bot
from elman.errors import ElmanError
from elman.generate.bot import load_state
from elman.generate.network import NetworkBot
from elman.model import build
from elman.model.array_files import CHECKSUM
from elman.model.folder import FORMAT, REPLIES
from elman.model.tensor_files import write_tensors
from elman.train import resume
from elman.train.checkpoints import checkpoints

Run = Callable[..., Any]
Spoil = Callable[[Path], object]

WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / "bot"))


def config(change: Callable[[dict[str, Any]], object]) -> Spoil:
    return spoiled_json(CONFIG, change)


def model(**values: object) -> Spoil:
    return config(lambda found: found["model"].update(values))


def train(**values: object) -> Spoil:
    return config(lambda found: found["train"].update(values))


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Spoil:
    return spoiled_json(TOKENIZER, change)


def spoiled_json(name: str, change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        found = json.loads((folder / name).read_text("utf-8"))
        change(found)
        (folder / name).write_text(json.dumps(found), "utf-8")

    return spoil


def written(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def without_checksum(metadata: dict[str, str]) -> None:
    """Whoever spoils a file can leave out its checksum, as earlier versions did."""
    facts = json.loads(metadata["elman"])
    facts.pop(CHECKSUM, None)
    metadata["elman"] = json.dumps(facts)


def header(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Spoil:
    """Change what a safetensors file says of itself, and none of its numbers."""

    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        size = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + size])
        without_checksum(found["__metadata__"])
        change(found)
        whole = json.dumps(found).encode()
        whole += b" " * (-len(whole) % 8)
        (folder / name).write_bytes(len(whole).to_bytes(8, "little") + whole + data[8 + size :])

    return spoil


def tensors(change: Callable[[dict[str, Any]], object], name: str = WEIGHTS) -> Spoil:
    """Change the numbers of a safetensors file."""

    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        size = int.from_bytes(data[:8], "little")
        facts = json.loads(data[8 : 8 + size])["__metadata__"]
        without_checksum(facts)
        found = load_file(folder / name)
        change(found)
        (folder / name).write_bytes(save(found, facts))

    return spoil


def pipe(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def overlapping(found: dict[str, Any]) -> None:
    names = [name for name in found if name != "__metadata__"]
    one, other = (found[name] for name in names[:2])
    size = other["data_offsets"][1] - other["data_offsets"][0]
    begin = one["data_offsets"][0]
    other["data_offsets"] = [begin, begin + size]


DEEP = b"[" * 100_000 + b"]" * 100_000

HOSTILE: dict[str, tuple[Spoil, str]] = {
    "code": (model(cell="hostile:Cell"), "--trust hostile:Cell"),
    "code of a part": (model(encoder_cell="os:system"), "--trust os:system"),
    "a size that no weights have": (model(hidden_size=10**9), "model.hidden_size: Input should"),
    "another size": (model(hidden_size=65536), "'output_bias'|'embedding.weight' is"),
    "more layers": (model(layers=64), "does not fit config.json: '.*' is missing"),
    "a width without end": (model(mlp=float("inf")), "mlp: Input should be"),
    "a config of a later version": (
        config(lambda found: found.update(format=2, elman="9.0")),
        "of format 2, made by Elman 9.0",
    ),
    "a setting of a later version": (
        config(lambda found: found.update(elman="9.0") or found["model"].update(heads=8)),
        r"made by Elman 9.0\): model.heads: Extra inputs",
    ),
    "a config that is nested deeply": (written(CONFIG, DEEP), "nested too deeply"),
    "a config without end": (written(CONFIG, b" " * (1 << 26)), "larger than 32 MB"),
    "a config of wrong kinds": (
        config(lambda found: found.update(data=[], model=None, reply="x")),
        "model: Input should be",
    ),
    "a config of thousands of mistakes": (
        config(lambda found: found["model"].update((f"x{n}", "y" * 999) for n in range(5000))),
        "and 4,997 more",
    ),
    "a config that is a pipe": (pipe(CONFIG), "no bot here"),
    "weights that are a pipe": (pipe(WEIGHTS), "is no file"),
    "a header longer than the file": (
        written(WEIGHTS, (1 << 62).to_bytes(8, "little") + b"{}"),
        "its header would be",
    ),
    "tensors that overlap": (header(overlapping), "damaged or truncated"),
    "foreign metadata": (
        header(lambda found: found.update(__metadata__={"format": "pt"})),
        "not written by Elman",
    ),
    "deep metadata": (
        header(lambda found: found["__metadata__"].update(elman="[" * 100_000)),
        "nested too deeply",
    ),
    "metadata of another kind": (
        header(lambda found: found["__metadata__"].update(elman="[]")),
        "not written by Elman",
    ),
    "a tensor too few": (tensors(lambda found: found.pop("output_bias")), "is missing"),
    "a tensor too many": (
        tensors(lambda found: found.update(payload=np.zeros(3))),
        "'payload' has no place",
    ),
    "another shape": (
        tensors(lambda found: found.update(output_bias=np.zeros((2, 3), np.float32))),
        "'output_bias' is 2 x 3 of float32, expected ",
    ),
    "another kind of numbers": (
        tensors(lambda found: found.update(output_bias=found["output_bias"].astype(np.int64))),
        "of int64, expected",
    ),
    "no numbers": (
        tensors(lambda found: found["output_bias"].fill(np.nan)),
        r"'output_bias' holds numbers that are none",
    ),
    "infinity": (tensors(lambda found: found["output_bias"].fill(np.inf)), "NaN or infinity"),
    "too large numbers": (
        tensors(lambda found: [each.fill(3e38) for each in found.values()]),
        "so large that no reply",
    ),
    "a tokenizer that draws": (
        tokenizer(lambda found: found["model"].update(dropout=0.5)),
        "not always alike",
    ),
    "a tokenizer that changes text": (
        tokenizer(lambda found: found.update(normalizer={"type": "Lowercase"})),
        "does not keep text exactly",
    ),
    "a tokenizer of added tokens": (
        tokenizer(
            lambda found: found["added_tokens"].append(
                {"id": 9, "content": "a", "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True}
            )
        ),
        "does not keep text exactly",
    ),
    "a tokenizer of unknown fields": (
        tokenizer(lambda found: found["model"].update(type="Unigram")),
        "does not keep text exactly",
    ),
    "a tokenizer of another size": (
        tokenizer(lambda found: found["model"]["vocab"].update(more=len(found["model"]["vocab"]))),
        "is not byte-level|do not belong together",
    ),
    "a tokenizer of too many pieces": (
        tokenizer(lambda found: found["model"].update(vocab={f"{n}": n for n in range(70_000)})),
        "70,000 pieces; at most",
    ),
    "merges of nothing": (
        tokenizer(lambda found: found["model"]["merges"].append(["no", "thing"])),
        "merges what are none of its pieces",
    ),
    "a tokenizer that is nested deeply": (written(TOKENIZER, DEEP), "nested too deeply"),
    "a name of terminal escapes": (model(cell="\x1b[2Jmod:\nCell"), "--trust"),
}  # fmt: skip


@pytest.mark.parametrize("verb", ["chat", "serve", "eval", "lens", "ab"])
@pytest.mark.parametrize("name", HOSTILE)
def test_one_sentence(
    elman: Run, folder: Path, chats: Path, name: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, said = HOSTILE[name]
    spoil(folder)
    built: list[str] = []

    def recorded(*given: Any) -> Any:
        built.append(torch.get_default_device().type)
        return build(*given)

    monkeypatch.setattr("elman.model.checkpoint.build", recorded)
    more: dict[str, list[object]] = {"eval": [chats], "lens": [chats], "ab": ["base", chats]}
    ran = elman(verb, folder, *more.get(verb, []))
    assert (ran.code, ran.out) == (2, ""), ran
    [line] = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert re.search(said, line), line
    assert line.isprintable(), "nothing that a terminal would obey"
    assert len(line) < 1500
    if name not in ("no numbers", "infinity", "too large numbers"):
        assert "cpu" not in built, "nothing was allocated"


CELL = """
import pathlib
from elman import GRUCell

pathlib.Path(__file__).with_name("ran").touch()

class Mine(GRUCell):
    pass

class Other(GRUCell):
    pass
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody's; the path that exists once it has run."""
    (tmp_path / "theircell.py").write_text(CELL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theircell", raising=False)
    return tmp_path / "ran"


def test_code_is_run_where_it_is_trusted_and_nowhere_else(
    elman: Run,
    chats: Path,
    tmp_path: Path,
    code: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_run: tuple[str, ...],
) -> None:
    bot = tmp_path / "mine"
    theirs = (*small_run, "--set", "train.steps=1", "--set", "model.cell=theircell:Mine")
    ran = elman("train", chats, "--out", bot, *theirs)
    assert ran.code == 0, ran
    assert f"talk with it: elman chat {bot} --trust theircell:Mine" in ran.err
    code.unlink()
    monkeypatch.delitem(sys.modules, "theircell")
    again = ["train", "--resume", bot, "--set", "train.steps=2"]
    new = ["train", chats, "--base", bot, "--out", tmp_path / "new", "--set", "train.steps=1"]
    commands: list[list[object]] = [
        ["chat", bot],
        ["serve", bot],
        ["eval", bot, chats],
        ["ab", bot, bot, chats],
        ["lens", bot, chats],
        again,
        new,
    ]
    for command in commands:
        for trust in ([], ["--trust", "theircell:Other"], ["--trust", "theircell"]):
            ran = elman(*command, *trust)
            assert ran.code == 2, ran
            assert ran.err.endswith("say so: --trust theircell:Mine\n")
    with pytest.raises(ElmanError, match="code from outside Elman"):
        load_network_bot(bot, trust="xtheircell:Minex")
    with pytest.raises(ElmanError, match="code from outside Elman"):
        resume(bot, budget={"steps": 2})
    assert not code.exists(), "it has not been imported"
    for command in (again, new, ["chat", bot]):
        ran = elman(*command, "--trust", "theircell:Mine")
        assert ran.code == 0, ran
    assert code.exists()
    assert type(load_network_bot(bot, trust=["theircell:Mine"]).chatbot).__name__ == "TokensChatbot"


def test_a_file_of_settings_is_not_trusted(
    elman: Run, chats: Path, tmp_path: Path, code: Path
) -> None:
    toml = tmp_path / "settings.toml"
    toml.write_text('[model]\ncell = "theircell:Mine"\nhidden_size = 8\n')
    command = [
        "train",
        chats,
        "--out",
        tmp_path / "bot",
        "--config",
        toml,
        "--set",
        "train.steps=1",
    ]
    ran = elman(*command)
    assert ran.code == 2
    assert "settings.toml: its cell 'theircell:Mine' is code from outside" in ran.err
    assert not code.exists()
    assert elman(*command, "--trust", "theircell:Mine").code == 0


def test_code_that_fails_is_named(elman: Run, chats: Path, tmp_path: Path, code: Path) -> None:
    (tmp_path / "theircell.py").write_text("def broken(:")
    ran = elman(
        "train",
        chats,
        "--out",
        tmp_path / "bot",
        "--set",
        "train.steps=1",
        "--set",
        "model.cell=theircell:Mine",
    )
    assert ran.code == 2
    assert "cell 'theircell:Mine' cannot be imported: SyntaxError" in ran.err
    ran = elman(
        "train",
        chats,
        "--out",
        tmp_path / "bot",
        "--set",
        "train.steps=1",
        "--set",
        "model.cell=.x:Mine",
    )
    assert ran.code == 2
    assert "cannot be imported" in ran.err


HOSTILE_REPLIES: dict[str, Spoil] = {
    "a reply that is not there": tensors(lambda found: found["reply"].fill(10**6), REPLIES),
    "a reply before the first": tensors(lambda found: found["reply"].fill(-1), REPLIES),
    "lengths that do not add up": tensors(lambda found: found["lengths"].fill(10**6), REPLIES),
    "a token that is none": tensors(lambda found: found["tokens"].fill(10**6), REPLIES),
    "END in a reply": tensors(lambda found: found["tokens"].fill(0), REPLIES),
    "another size": tensors(lambda found: found.update(centre=np.zeros(3, np.float32)), REPLIES),
    "a part too few": tensors(lambda found: found.pop("places"), REPLIES),
    "no numbers": tensors(lambda found: found["centre"].fill(np.nan), REPLIES),
    "a header longer than the file": written(REPLIES, b"\xff" * 16),
    "a pipe": pipe(REPLIES),
}


@pytest.mark.parametrize("name", HOSTILE_REPLIES)
def test_replies_that_do_harm(elman: Run, folder: Path, name: str) -> None:
    HOSTILE_REPLIES[name](folder)
    ran = elman("chat", folder, "--reply-from", "data", given="hi\n")
    assert (ran.code, ran.out) == (2, ""), ran
    [line] = [line for line in ran.err.splitlines() if line.startswith("elman: ")]
    assert "replies.safetensors" in line


CHECKPOINT = "checkpoints/step-00000012.safetensors"
"""The last one that there is."""


def facts(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the facts that a run goes on from."""

    def changed(found: dict[str, Any]) -> None:
        said = json.loads(found["__metadata__"]["elman"])
        change(said)
        found["__metadata__"]["elman"] = json.dumps(said)

    return header(changed, CHECKPOINT)


HOSTILE_RUNS: dict[str, Spoil] = {
    "facts of other kinds": facts(lambda found: found.update(trainer=3)),
    "facts that are missing": facts(lambda found: found.pop("corpus")),
    "no number of seconds": facts(lambda found: found.update(seconds=float("nan"))),
    "a conversation that is not there": facts(
        lambda found: found["trainer"]["batches"]["conversation"].__setitem__(0, 10**6)
    ),
    "lanes that are not there": facts(
        lambda found: found["trainer"]["batches"].update(conversation=[0] * 99, offset=[0] * 99)
    ),
    "more than was handed out": facts(
        lambda found: found["trainer"]["batches"].update(taken=10**6)
    ),
    "contents that are a number": facts(lambda found: found.update(contents=3)),
    "contents of other kinds": facts(
        lambda found: found["contents"]["learned from"].update(tokens="\x1b[2J")
    ),
    "contents of a part that is none": facts(lambda found: found["contents"].update({"\n": {}})),
    "weights of another size": tensors(
        lambda found: found.update({"model.output_bias": np.zeros(3, np.float32)}), CHECKPOINT
    ),
    "moments of another size": tensors(
        lambda found: found.update({"optimizer.0.exp_avg": np.zeros(3, np.float32)}), CHECKPOINT
    ),
    "moments of another optimizer": tensors(
        lambda found: found.update({"optimizer.0.momentum_buffer": np.zeros(3, np.float32)}),
        CHECKPOINT,
    ),
    "states of another size": tensors(
        lambda found: found.update({"state.0": np.zeros((4, 3), np.float32)}), CHECKPOINT
    ),
    "randomness that is none": tensors(
        lambda found: found.update(rng=np.zeros(3, np.float32)), CHECKPOINT
    ),
    "no numbers": tensors(lambda found: found["model.output_bias"].fill(np.nan), CHECKPOINT),
    "what is nothing": tensors(lambda found: found.update(payload=np.zeros(3)), CHECKPOINT),
    "a pipe": pipe(CHECKPOINT),
}


@pytest.mark.parametrize("name", HOSTILE_RUNS)
def test_runs_that_do_harm(elman: Run, folder: Path, name: str) -> None:
    for path in checkpoints(folder)[1:]:
        path.unlink()
    HOSTILE_RUNS[name](folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    ran = elman("train", "--resume", folder, "--set", "train.steps=13")
    assert ran.code == 2, ran
    [line] = [line for line in ran.err.splitlines() if line.startswith("elman: ")]
    assert "checkpoints" in line
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


SETTINGS_OF_RUNS: dict[str, tuple[Spoil, str]] = {
    "a list": (config(lambda found: found.update(train=[1])), "train: Input should be"),
    "no learning rate": (train(lr=None), "does not say which lr and which precision"),
    "a precision to be chosen": (train(precision="auto"), "does not say which lr and which"),
    "a seed that torch does not take": (train(seed=2**63), "train.seed: Input should be"),
    "lanes without end": (
        train(batch_size=10**9),
        "more than the 1,048,576 that one step may hold",
    ),
    "a window without end": (train(unfold=10**9), "more than the 1,048,576 that one step"),
    "a path without end": (
        config(lambda found: found["data"].update(path="x" * 100_000)),
        "data.path: String should have at most 4096",
    ),
}


@pytest.mark.parametrize("name", SETTINGS_OF_RUNS)
def test_settings_of_runs_that_do_harm(elman: Run, folder: Path, name: str) -> None:
    spoil, said = SETTINGS_OF_RUNS[name]
    spoil(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    ran = elman("train", "--resume", folder, "--set", "train.steps=13")
    assert ran.code == 2, ran
    [line] = ran.err.splitlines()
    assert line.startswith(f"elman: {folder / CONFIG}: ")
    assert said in line
    assert len(line) < 1500
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("verb", ["eval", "lens"])
@pytest.mark.parametrize(
    "spoil",
    [
        config(lambda found: found["data"].pop("test", None)),
        facts(lambda found: found.pop("corpus")),
    ],
    ids=["settings left out", "facts that are missing"],
)
def test_what_it_learned_from_is_gone_and_little_is_said_of_it(
    elman: Run, folder: Path, chats: Path, tmp_path: Path, spoil: Spoil, verb: str
) -> None:
    config(lambda found: found["data"].update(path=str(tmp_path / "gone")))(folder)
    spoil(folder)
    ran = elman(verb, folder, chats)
    assert (ran.code, "Traceback" in ran.err) in ((0, False), (2, False)), ran


def test_a_log_that_does_harm_is_cut(elman: Run, folder: Path) -> None:
    log = folder / "log.jsonl"
    good = log.read_bytes()
    log.write_bytes(good + b"[" * 100_000 + b"\xff\xfe" + b'{"step": []}\n')
    assert elman("train", "--resume", folder, "--set", "train.steps=13").code == 0
    whole = log.read_bytes()
    assert whole.startswith(good[: good.rindex(b'{"kind": "end"')])
    assert all(json.loads(line)["step"] <= 13 for line in whole.splitlines())


def test_nothing_is_written_through_a_link(elman: Run, folder: Path, tmp_path: Path) -> None:
    """Files of a folder from elsewhere could be links to any file of whoever trains there."""
    for name in (CONFIG, WEIGHTS, CHECKPOINT, REPLIES, "log.jsonl"):
        aside = tmp_path / Path(name).name
        (folder / name).rename(aside)
        (folder / name).symlink_to(aside)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert elman("train", "--resume", folder, "--set", "train.steps=20").code == 0
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_bot_says_of_a_pipe_that_it_is_gone(elman: Run, folder: Path, tmp_path: Path) -> None:
    """Where it learned from is read again: never from a pipe or a device, which may not end."""
    os.mkfifo(tmp_path / "endless")
    config(lambda found: found["data"].update(path=str(tmp_path / "endless")))(folder)
    (folder / REPLIES).unlink()
    ran = elman("chat", folder, "--reply-from", "data", given="hi\n")
    assert ran.code == 2
    assert "is gone" in ran.err


def state(bot: NetworkBot, change: Callable[[dict[str, Tensor]], object]) -> dict[str, Tensor]:
    found = {spec.name: torch.zeros(1, spec.size) for spec in bot.chatbot.state_spec}
    change(found)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: next(iter(found.values())).fill_(torch.nan), "numbers that are none"),
        (lambda found: found.update(more=torch.zeros(1)), "has no place"),
        (lambda found: found.pop(next(iter(found))), "is missing"),
        (
            lambda found: found.update({next(iter(found)): torch.zeros(1, 16).long()}),
            "of int64, expected",
        ),
    ],
    ids=["NaN", "one too many", "one too few", "other numbers"],
)
def test_states_that_do_harm(
    trained: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], said: str
) -> None:
    bot = load_network_bot(trained)
    made_by = bot.made_by
    path = tmp_path / "state"
    write_tensors(path, state(bot, change), {"state": FORMAT, **made_by})
    with pytest.raises(ElmanError, match=said):
        load_state(path, bot)


def test_a_log_that_does_harm_is_watched(elman: Run, folder: Path) -> None:
    """Lines that are none of a run's are counted, and the others shown."""
    first = (folder / "log.jsonl").read_text("utf-8").splitlines()[0]
    strange = [
        '{"kind": "step", "step": 1e999}',
        '{"kind": "step", "step": 3}',
        '{"kind": "step", "step": 3, "left": "\\u001b[2J"}',
        '{"kind": "lag", "step": 3, "layers": 3, "text": 4}',
        '{"kind": "lag", "step": 3, "layers": [[]], "text": "x"}',
        '{"kind": "samples", "step": 3, "samples": [{"heard": 3}]}',
        '{"kind": "end", "step": 3, "reason": []}',
        "[" * 100_000,
    ]
    whole = [first, *strange, '{"kind": "end", "step": 4, "reason": "finished"}']
    (folder / "log.jsonl").write_text("\n".join(whole) + "\n", "utf-8")
    ran = elman("watch", folder, "--json")
    assert ran.code == 0, ran
    assert json.loads(ran.out)["damaged"] == len(strange)
    ran = elman("watch", folder, "--terminal")
    assert ran.code == 0, ran
    assert f"{len(strange)} damaged lines of the log are left out" in ran.out
