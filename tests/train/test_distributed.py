"""Processes that learn together: as one would, whoever has which rows, and whoever is killed.

This file is also what the processes run: `steps FOLDER BEGIN END` makes the steps of every case in
one of them, and `train KILLS ...` is the command in one that kills itself.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import elman.cli
from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus
from elman.data.stream import Window
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.errors import ElmanError
from elman.model.tensor_files import read_tensors, write_tensors
from elman.train import Config, joining
from elman.train.checkpoints import checkpoint_path
from elman.train.distributed import ALONE, World
from elman.train.faults import NotFiniteError
from elman.train.joining import LAUNCH, joined, restarts
from elman.train.prepare import Data
from elman.train.runlog import LOG
from elman.train.trainer import Trainer

PROCESS_SECONDS = 300
STEPS = 20

CASES: dict[str, dict[str, dict[str, object]]] = {
    "five rows of tokens": {
        "model": {"pointer": 8, "ngrams": 2},
        "train": {"batch_size": 5, "unfold": 12, "unit": "steps", "optimizer": "adamw"},
    },
    "a memory of messages": {
        "model": {"memory": "messages"},
        "train": {"batch_size": 3, "unfold": 2, "unit": "messages", "optimizer": "muon"},
    },
    "every reply through two messages": {
        "train": {"batch_size": 4, "unfold": 2, "unit": "messages", "slide": True},
    },
    "a state that is no number": {
        "train": {"batch_size": 4, "unfold": 6, "unit": "steps"},
    },
    "fewer rows than processes": {
        "train": {"batch_size": 1, "unfold": 6, "unit": "steps"},
    },
}  # fmt: skip
RELAY = "five rows of tokens"
NOT_FINITE, BAD_STEP, BAD_ROWS = "a state that is no number", 3, range(2, 4)
"""A state is damaged before that step, in those rows: in two processes, those of process 1."""


def data_of(case: str) -> Data:
    """Sixteen conversations, of which rows of very different length are made."""
    draw = random.Random(1)
    talks = [
        Conversation(
            tuple(
                Message(
                    "Ann" if n % 2 else "Bob", "ab c"[: draw.randint(1, 4)] * draw.randint(1, 9)
                )
                for n in range(2 * draw.randint(1, 4))
            )
        )
        for _ in range(16)
    ]
    tokenizer = Tokenizer.train([], MIN_VOCABULARY_SIZE)
    given = CASES[case]
    config = Config.make(
        {
            "data": {"path": "chats", "bot": "Ann", "learn_from": "bot"},
            "model": {"hidden_size": 8, "pointer": 0, "ngrams": 0} | given.get("model", {}),
            "train": {"steps": STEPS, "lr": 0.01, "precision": "float32"} | given["train"],
        }
    )
    return Data(tokenizer, Corpus.encode(talks, tokenizer, "Ann"), None, config)


class Run:
    """One case in this process of a world, in float64."""

    def __init__(self, case: str, world: World) -> None:
        data = data_of(case)
        self.trainer = Trainer.of(data.config, data, world)
        self.trainer.chatbot.double()
        ids = data.train.ids
        self.trainer.chatbot.count(ids, ids == ids)
        self.losses: list[float] = []
        self._case, self._own = case, world.own_rows(data.config.train.batch_size)
        self.seen: list[Counter[str]] = []  # by step
        self._cut, self.trainer.batches.next = self.trainer.batches.next, self._next  # type: ignore[method-assign]

    def _next(self) -> Any:
        """Cut a batch, and count the tokens that are learned from each message."""
        if (self._case, self.trainer.steps) == (NOT_FINITE, BAD_STEP):
            for row in set(BAD_ROWS) & set(self._own):
                for part in self.trainer._state or ():
                    part[row - self._own.start] = torch.nan
        batch = self._cut()
        if isinstance(batch, Window):
            counts = batch.weight > 0
            both = torch.stack([batch.conversation[counts], batch.message[counts]], 1)
            self.seen.append(Counter(f"{c}/{m}" for c, m in both.tolist()))
        return batch

    def steps(self, count: int) -> None:
        for _ in range(count):
            try:
                self.losses.append(self.trainer.step(0.5).loss)
            except NotFiniteError:
                self.losses.append(-1)


def in_one_of_many(folder: Path, begin: int, end: int) -> None:
    """Make the steps of every case in this process; from step 0 on all, else those of the relay.

    Of the relay there is a checkpoint after the 7th, too.
    """
    torch.set_num_threads(1)
    with joined() as world:
        for case in CASES if begin == 0 else [RELAY]:
            run = Run(case, world)
            if world.leads:
                if begin:
                    run.trainer.load_state_dict(*read_tensors(folder / f"{RELAY} {begin}"))
                for step in (7, end) if (case, begin) == (RELAY, 0) else (end,):
                    run.steps(step - run.trainer.steps)
                    write_tensors(folder / f"{case} {step}", *run.trainer.state_dict())
                run.trainer.dismiss()
            else:
                run.trainer.follow()
            told = json.dumps({"losses": run.losses, "seen": run.seen})
            (folder / f"{case} {end} seen by {world.rank}").write_text(told)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    told = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in told.items()}


def ran(*arguments: Sequence[object]) -> list[tuple[int, str]]:
    """Run Python with some arguments in each process: their exit codes, and what they said."""
    port = free_port()
    every = [
        subprocess.Popen(
            [sys.executable, *map(str, own)],
            env=os.environ | environment(rank, len(arguments), port),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, own in enumerate(arguments)
    ]
    try:
        said = [process.communicate(timeout=PROCESS_SECONDS)[1] for process in every]
    finally:
        for process in every:
            process.kill()
    return [(process.returncode, err) for process, err in zip(every, said, strict=True)]


def make_steps(size: int, folder: Path, begin: int, end: int) -> None:
    for code, err in ran(*[(__file__, "steps", folder, begin, end)] * size):
        assert code == 0, err


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every case, and three of the relay after the 7th step."""
    folder = tmp_path_factory.mktemp("worlds")
    make_steps(2, folder, 0, STEPS)
    make_steps(3, folder, 7, 14)
    return folder


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    names = {name for name in one if not name.startswith("rng")}
    assert names == {name for name in other if not name.startswith("rng")}
    for name in names:
        torch.testing.assert_close(one[name], other[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_as_one(relay: Path, case: str) -> None:
    alone = Run(case, ALONE)
    alone.steps(STEPS)
    tensors, facts = alone.trainer.state_dict()
    together, facts_of_two = read_tensors(relay / f"{case} {STEPS}")
    assert facts == facts_of_two
    equal(tensors, together)
    seen = [json.loads((relay / f"{case} {STEPS} seen by {n}").read_text()) for n in (0, 1)]
    assert seen[0]["losses"] == pytest.approx(alone.losses, abs=1e-9)
    skipped = [step for step, loss in enumerate(alone.losses) if loss < 0]
    assert skipped == [BAD_STEP] * (case == NOT_FINITE)


def test_other_numbers_of_processes_go_on_where_the_last_ones_stopped(relay: Path) -> None:
    last = Run(RELAY, ALONE)
    last.trainer.load_state_dict(*read_tensors(relay / f"{RELAY} 14"))
    last.steps(STEPS - 14)
    alone = Run(RELAY, ALONE)
    alone.steps(STEPS)
    equal(last.trainer.state_dict()[0], alone.trainer.state_dict()[0])
    # Every token of every message has been learned as often as by one process.
    seen = sum(last.seen, Counter[str]())
    for end, size in ((STEPS, 2), (14, 3)):
        for rank in range(size):
            told = json.loads((relay / f"{RELAY} {end} seen by {rank}").read_text())["seen"]
            assert any(told)
            seen += sum(map(Counter, told[:7]), Counter[str]())
    assert seen == sum(alone.seen, Counter[str]())


def train_and_be_killed(kills: str, *arguments: str) -> None:
    """Run `elman train`; "1@7,0@9": process 1 is killed in step 7, then, started again, 0 in 9."""
    when = dict(enumerate(kills.split(",")))
    step = Trainer.step

    def step_or_die(trainer: Trainer, rate: float = 1.0) -> Any:
        if when.get(restarts()) == f"{os.environ['RANK']}@{trainer.steps + 1}":
            os.kill(os.getpid(), signal.SIGKILL)
        return step(trainer, rate)

    Trainer.step = step_or_die  # type: ignore[method-assign, assignment]
    sys.argv = ["elman", "train", *arguments]
    elman.cli.main()


def torchrun(*arguments: object) -> str:
    """Run this file in two processes of torchrun, and return what all said."""
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2")
    restarting = ("--max-restarts=2", f"--master-port={free_port()}", __file__)
    done = subprocess.run(
        [*command, *restarting, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


SETTINGS = (
    "--bot=Ann", "--base=none", "--set=data.vocabulary=300", "--set=data.replies=0",
    "--set=model.hidden_size=16", "--set=model.dropout=0.1", "--set=train.batch_size=5",
    "--set=train.steps=12", "--set=train.validations=3", "--set=train.precision=float32",
)  # fmt: skip


@pytest.mark.slow
def test_killed_processes_are_started_again_and_end_in_the_same_weights(
    tmp_path: Path, chats: Path, elman: Callable[..., Any]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torchrun("train", "", chats, "--out", whole, *SETTINGS)
    said = torchrun("train", "1@7,0@10", chats, "--out", killed, *SETTINGS)
    assert "process 0 lost another process of its run" in said
    for step in (4, 8):
        assert f"torchrun has started all processes again: step {step} was the last" in said
    one, other = (read_tensors(checkpoint_path(folder, 12)) for folder in (whole, killed))
    assert one[0].keys() == other[0].keys()
    assert {"rng", "rng.1"} <= one[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name
    for folder in (whole, killed):
        told = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        assert [each["step"] for each in told if each["kind"] == "step"] == [*range(1, 13)]
        assert not (folder / LAUNCH).exists()
    goes_on = elman("train", "--resume", whole, "--set", "train.steps=14")
    assert goes_on.code == 0
    assert "1 process goes on where 2 were: it learns the same 5 rows" in goes_on.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conversations", "setting", "said"),
    [
        (30, "train.lr=0.5", "have different settings: train.lr: 0.5 and 0.1"),
        (29, "train.lr=0.1", "have different data: learned from.conversations: 27 and 28"),
    ],
)
def test_a_process_that_differs_is_named(
    tmp_path: Path, chats: Path, conversations: int, setting: str, said: str
) -> None:
    blocks = chats.read_text().split("\n\n")
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(blocks[:conversations]))
    common = ("-m", "elman", "train", "--out", tmp_path / "bot", *SETTINGS)
    done = ran(
        (*common, chats, "--set", "train.lr=0.1"),
        (*common, other, "--set", setting),
    )
    for code, err in done:
        assert code == 2, err
        assert "Traceback" not in err
        assert "elman: process 1 on " in err
        assert said in err
    assert not (tmp_path / "bot").exists()


class Told(World):
    """A world of two in which the other process has said what it has."""

    other: bytes = b""

    def _gather_bytes(self, content: bytes) -> list[bytes]:
        return [content, self.other]


def test_versions_that_differ_are_named() -> None:
    class Other(Told):
        other = json.dumps(["beta", {"torch": "1.0", "numpy": "2"}]).encode()

    with pytest.raises(ElmanError, match=r"process 1 on beta and .* versions: torch: 1.0 and 2.0"):
        Other(0, 2).agree("versions", {"torch": "2.0", "numpy": "2"})
    Other(0, 2).agree("versions", {"torch": "1.0", "numpy": "2"})


@pytest.mark.parametrize("taken", [False, True])
def test_a_process_that_is_missing_and_a_port_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    monkeypatch.setattr(joining, "JOIN_SECONDS", 0.1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        if taken:
            other.listen()
        else:
            other.close()
        for name, value in environment(0, 2, port).items():
            monkeypatch.setenv(name, value)
        where = rf"process 0 of 2 could not meet the others at 127.0.0.1:{port}: .*"
        why = "failed to listen" if taken else "imed out|missing"
        with pytest.raises(ElmanError, match=where + f"({why})"), joined():
            pass


@pytest.mark.parametrize(("name", "value"), [("RANK", "2"), ("WORLD_SIZE", "two"), ("RANK", "")])
def test_variables_that_are_not_torchruns(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for each, right in environment(0, 2, 1).items():
        monkeypatch.setenv(each, right)
    monkeypatch.setenv(name, value)
    with pytest.raises(ElmanError, match=f"{name}.*{value}"), joined():
        pass


def test_one_process_pays_nothing() -> None:
    with joined() as world:
        assert world is ALONE
        assert not torch.distributed.is_initialized()
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = gradient = torch.ones(2)
    assert world.sum_gradients([parameter], 3, [1, 2]) == [1, 2]
    assert parameter.grad is gradient
    state = (torch.ones(2, 3),)
    assert world.gather_rows(state) is state


@pytest.mark.parametrize(("rows", "size"), [(5, 2), (16, 3), (4, 4), (2, 5), (1, 1)])
def test_every_row_is_one_processs(rows: int, size: int) -> None:
    dealt = [World(rank, size).own_rows(rows) for rank in range(size)]
    assert [row for own in dealt for row in own] == list(range(rows))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


if __name__ == "__main__":
    if sys.argv[1] == "steps":
        in_one_of_many(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        train_and_be_killed(*sys.argv[2:])
