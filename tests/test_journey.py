"""The whole way, as a user goes it: the installed command, on a tiny chat."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ELMAN = [sys.executable, "-m", "elman"]
SIZES = ("model.hidden_size=16", "data.vocabulary=300", "train.batch_size=4", "train.unfold=16")
PIPE_BYTES = 4096
SMALL = [word for size in SIZES for word in ("--set", size)]


def elman(*arguments: object, given: str = "", home: Path | None = None) -> str:
    """What the command printed; it must succeed."""
    environment = os.environ | ({"XDG_DATA_HOME": str(home), "HOME": str(home)} if home else {})
    ran = subprocess.run(
        [*ELMAN, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("verb", ["demo", "train", "chat", "eval"])
def test_help_has_an_example(verb: str) -> None:
    assert f"elman {verb}" in elman(verb, "--help").split("Example:")[1]


@pytest.mark.slow
def test_train_chat_eval(chats: Path, tmp_path: Path) -> None:
    bot = tmp_path / "bots" / "ann"
    events = elman(
        "train", chats, "--bot", "Ann", "--out", bot, "--set", "train.epochs=2", "--json", *SMALL
    )
    kinds = [json.loads(line)["kind"] for line in events.splitlines()]
    assert kinds[-1] == "end"
    assert {"note", "start", "step", "validation"} <= set(kinds)

    assert elman("chat", bot, given="what is 1 plus 1?\n").count("\n") == 1

    report = json.loads(elman("eval", bot, chats, "--json"))
    assert 0 < report["bits_per_byte"] < 8
    assert isinstance(report["context_gain"], float)
    assert 0 < report["distinct_2"] <= 1
    assert "bits per byte" in elman("eval", bot, chats)


def test_standard_input_is_learned_from(chats: Path, tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    elman(
        "train", "-", "--out", bot, "--set", "train.steps=3", *SMALL, given=chats.read_text("utf-8")
    )
    config = json.loads((bot / "config.json").read_text())
    assert config["data"]["learn_from"] == "all"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_interrupted_and_resumed(chats: Path, tmp_path: Path, precision: str) -> None:
    """Ctrl-C saves and says how to go on; going on ends in the same weights as never stopping."""
    # Their lines do not fit into the pipe: the run cannot end before it is stopped.
    # What is faster here is measured anew for each run, and must not decide this one.
    same = ["--set", f"train.precision={precision}"]
    arguments = ["train", chats, "--set", "train.steps=300", "--json", *SMALL, *same]
    elman(*arguments, "--out", tmp_path / "whole")
    stopped = tmp_path / "stopped"
    command = [*ELMAN, *map(str, [*arguments, "--out", stopped])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, pipesize=PIPE_BYTES
    ) as process:
        assert process.stdout is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["kind"] == "step" and events[-1]["step"] == 5:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert events[-1]["reason"] == "interrupted"
    elman("train", "--resume", stopped)
    whole, resumed = (
        (folder / "model.safetensors").read_bytes() for folder in (tmp_path / "whole", stopped)
    )
    assert whole == resumed


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    """On the real built-in conversations, with a budget that is over before the first step."""
    said = elman("demo", "--minutes", 0.01, home=tmp_path)
    assert "bits per byte" in said
    assert "before training" in said
    assert said.count("\nconversation ") == 3
    assert said.count("you> ") == said.count("bot> ") == 9
    (bot,) = tmp_path.rglob("model.safetensors")
    elman("chat", bot.parent, given="hello\n")
