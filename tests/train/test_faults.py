"""Numbers that are none: their step is skipped and told; after three of them the run goes back."""

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.data.stream import Window
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.model.chatbot import Loss
from elman.model.tensor_files import digest, read_tensors
from elman.model.tokens import TokensChatbot
from elman.train import Config, resume, train
from elman.train.checkpoints import CHECKPOINTS, checkpoints
from elman.train.faults import MAX_SETBACKS, NotFiniteError
from elman.train.prepare import prepare
from elman.train.runlog import LOG, Tell
from elman.train.trainer import Trainer

Make = Callable[..., Config]

CONVERSATION, MESSAGE = 7, 3
"""Where the loss is no number in these tests."""


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss of one message no number."""
    loss = TokensChatbot.loss

    def spoiled(self: TokensChatbot, window: Window, *rest: Any) -> Loss:
        found = loss(self, window, *rest)
        there = (window.conversation == CONVERSATION) & (window.message == MESSAGE)
        return found._replace(nats=found.nats * nan) if window.weight[there].any() else found

    monkeypatch.setattr(TokensChatbot, "loss", spoiled)


@pytest.fixture
def bad_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the loss of some steps of a run no number, as long as the learning rate is its own."""

    def make(*steps: int, of: int, rates: float = 0.75) -> None:
        step = Trainer.step

        def spoiled(self: Trainer, rate: float = 1.0) -> Any:
            bad = self.steps + 1 in steps and rate > rates * (1 - self.steps / of)
            real = self.chatbot.loss

            def loss(*arguments: Any) -> Loss:
                found = real(*arguments)
                return found._replace(nats=found.nats * nan)

            with monkeypatch.context() as patch:
                if bad:
                    patch.setattr(self.chatbot, "loss", loss, raising=False)
                return step(self, rate)

        monkeypatch.setattr(Trainer, "step", spoiled)

    return make


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / LOG).read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.usefixtures("poisoned")
def test_a_step_is_skipped_and_told(tmp_path: Path, make_config: Make) -> None:
    result = train(make_config(train__steps=40), tmp_path)
    warnings = events(tmp_path, "warning")
    assert warnings
    for warning in warnings:
        assert (warning["conversation"], warning["message"]) == (CONVERSATION, MESSAGE)
        assert warning["skipped"] == 1
        assert warning["loss"] is None
        assert "most of it comes from conversation 8, message 4: “it is" in warning["text"]
    skipped = {warning["step"] for warning in warnings}
    assert skipped | {step["step"] for step in events(tmp_path, "step")} == set(range(1, 41))
    assert skipped.isdisjoint(step["step"] for step in events(tmp_path, "step"))
    assert result.reason == "finished"
    assert all(p.isfinite().all() for p in load_network_bot(tmp_path).chatbot.parameters())


@pytest.mark.usefixtures("poisoned")
def test_what_is_no_number_changes_no_weight(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    step = Trainer.step

    def watched(self: Trainer, rate: float = 1.0) -> Any:
        before, _ = self.state_dict()
        before = {name: tensor.clone() for name, tensor in before.items()}
        try:
            return step(self, rate)
        except NotFiniteError:
            after, _ = self.state_dict()
            parts = ("model.", "optimizer.")
            assert digest({n: t for n, t in before.items() if n.startswith(parts)}) == digest(
                {n: t for n, t in after.items() if n.startswith(parts)}
            )
            assert self.is_finite()
            seen.append(self.steps)
            raise

    monkeypatch.setattr(Trainer, "step", watched)
    train(make_config(train__steps=40), tmp_path)
    assert seen


def test_rows_whose_state_is_no_number_begin_anew(
    make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is a number, and still nothing is learned of such a batch."""
    config = prepare(make_config(), Tell(())).config
    trainer = Trainer.of(config, prepare(config, Tell(())))
    trainer.step()
    loss = TokensChatbot.loss

    def spoiled(self: TokensChatbot, *rest: Any) -> Loss:
        found = loss(self, *rest)
        found.state[0][2] = nan
        return found

    monkeypatch.setattr(TokensChatbot, "loss", spoiled)
    with pytest.raises(NotFiniteError, match=r"step 2: .* the state of row 3 is no number"):
        trainer.step()
    state = trainer.state_dict()[0]["state.0"]
    assert state.abs().sum(1).gt(0).tolist() == [True, True, False, True]


def test_after_three_the_run_goes_back_at_a_lower_rate(
    tmp_path: Path, make_config: Make, bad_steps: Callable[..., None]
) -> None:
    bad_steps(9, 10, 11, of=12)
    result = train(make_config(), tmp_path / "whole")
    assert (result.reason, result.steps) == ("finished", 12)
    *skipped, back = events(tmp_path / "whole", "warning")
    assert [(each["step"], each["skipped"]) for each in skipped] == [(9, 1), (10, 2), (11, 3)]
    assert back["text"] == (
        "3 steps in a row were skipped: back to step-00000008.safetensors, at 0.5 of the learning "
        "rate"
    )
    steps = events(tmp_path / "whole", "step")
    assert [step["step"] for step in steps] == list(range(1, 13))
    assert steps[8]["lr"] < 0.6 * steps[7]["lr"]
    # A run that is killed meets the same again, and ends in the same weights.
    for number, kept in enumerate((10, 11)):
        asked = iter(range(kept))
        folder = tmp_path / f"{number}"
        train(make_config(), folder, stop=lambda asked=asked: next(asked, None) is None)  # type: ignore[misc]
        assert checkpoints(folder)[0].name == "step-00000008.safetensors"
        resume(folder)
        one, other = (read_tensors(checkpoints(f)[0]) for f in (folder, tmp_path / "whole"))
        assert digest(one[0]) == digest(other[0])
        assert one[1]["setbacks"] == other[1]["setbacks"] == 1


def test_no_checkpoint_is_made_right_after_a_step_that_was_skipped(
    tmp_path: Path, make_config: Make, bad_steps: Callable[..., None]
) -> None:
    bad_steps(4, 5, of=12)
    train(make_config(train__keep_checkpoints=9), tmp_path)
    kept = [path.name for path in checkpoints(tmp_path)]
    assert kept == [f"step-{step:08d}.safetensors" for step in (12, 8, 6, 0)]


def test_it_gives_up_with_a_report(
    tmp_path: Path, make_config: Make, bad_steps: Callable[..., None]
) -> None:
    bad_steps(9, 10, 11, of=12, rates=0.0)
    with pytest.raises(ElmanError) as error:
        train(make_config(), tmp_path)
    said = str(error.value)
    assert said.startswith(
        f"gave up at step 11: the run went back {MAX_SETBACKS} times, at last to"
    )
    assert "step 9 was skipped: the loss is nan and the norm of its gradient nan" in said
    assert "step-00000008.safetensors and the best weights are kept; begin a new run, and" in said
    assert "lower train.lr, or lower train.clip" in said
    assert load_network_bot(tmp_path)
    backs = [each for each in events(tmp_path, "warning") if "setbacks" in each]
    assert [each["setbacks"] for each in backs] == [1, 2, 3, 4]


def test_a_score_that_is_no_number_leads_back_too(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([1.0, nan])
    monkeypatch.setattr(
        "elman.train.validating.bits_per_byte", lambda *rest: bits_per_byte(*rest) * next(found, 1)
    )
    result = train(make_config(), tmp_path)
    [back] = events(tmp_path, "warning")
    assert back["step"] == 8
    assert back["text"].startswith("the weights are no longer numbers: back to step-00000004.")
    assert [each["step"] for each in events(tmp_path, "validation")] == [4, 8, 12]
    assert result.steps == 12


def test_weights_that_overflow_are_not_saved(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update can make a weight infinite though its gradient is finite."""
    real, overflows = Trainer.step, iter([4])

    def step(self: Trainer, rate: float = 1.0) -> Any:
        metrics = real(self, rate)
        if self.steps == 4 and next(overflows, None):
            with torch.no_grad():
                next(self.chatbot.parameters()).view(-1)[0] = torch.inf
        return metrics

    monkeypatch.setattr(Trainer, "step", step)
    train(make_config(), tmp_path)
    [back] = events(tmp_path, "warning")
    assert (back["step"], back["setbacks"]) == (4, 1)
    for path in (tmp_path / CHECKPOINTS).iterdir():
        assert all(tensor.isfinite().all() for tensor in read_tensors(path)[0].values())
