"""The log is read while it is written: whole lines, resumed runs, damage, nothing twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.files import LOG
from elman.errors import ElmanError
from elman.lens.watching import log
from elman.lens.watching.log import LogPosition, Summary, check, follow, read_on
from elman.lens.watching.tensorboard import write_events
from elman.train import Config, resume, train

MakeRun = Callable[..., Path]


def lines(count: int) -> str:
    return "".join(json.dumps({"kind": "step", "step": n}) + "\n" for n in range(1, count + 1))


def read_all(
    run: Path, place: LogPosition | None = None
) -> tuple[list[dict[str, Any]], LogPosition]:
    found, place, more = [], place or LogPosition(), True
    while more:
        part = read_on(run, place)
        found += part.events
        place, more = part.place, part.more
    return found, place


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_however_it_is_written_every_event_is_read_once(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path_factory.mktemp("run")
    text = lines(12)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    found: list[int] = []
    place = LogPosition()
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        with (run / LOG).open("a") as file:
            file.write(text[begin:end])
        part = read_on(run, place)
        assert not part.anew
        assert not part.damaged
        place = part.place
        found += [event["step"] for event in part.events]
    assert found == list(range(1, 13))


def test_a_large_log_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_READ_BYTES", 100)
    (tmp_path / LOG).write_text(lines(40))
    assert read_on(tmp_path, LogPosition()).more
    assert [event["step"] for event in read_all(tmp_path)[0]] == list(range(1, 41))


def test_a_log_that_was_begun_anew_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(lines(5))
    _, place = read_all(tmp_path)
    (tmp_path / LOG).unlink()
    gone = read_on(tmp_path, place)
    assert (gone.events, gone.anew) == ([], True)
    (tmp_path / LOG).write_text('{"kind": "step", "step": 1, "loss": 9}\n')
    part = read_on(tmp_path, place)
    assert part.anew
    assert [event["loss"] for event in part.events] == [9]
    assert not read_on(tmp_path, part.place).anew


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(lines(1).encode() + b'\xff\xfe{\n[1]\n{"kind": "step"}\n')
    with (tmp_path / LOG).open("a") as file:
        file.write('{"kind": "step", "step": 2}\n{"kind": "st')
    part = read_on(tmp_path, LogPosition())
    assert [event["step"] for event in part.events] == [1, 2]
    assert part.damaged == 3


def test_a_run_that_is_watched_while_it_is_resumed(
    tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    stop = iter([False] * 5 + [True] * 9)
    train(make_config(), tmp_path, stop=lambda: next(stop))
    seen = Summary()
    part = read_on(tmp_path, LogPosition())
    seen.add(part)
    assert seen.end is not None
    assert seen.end["reason"] == "interrupted"
    resume(tmp_path)
    part = read_on(tmp_path, part.place)
    assert part.anew
    seen.add(part)
    assert [event["step"] for event in seen.steps] == list(range(1, 13))
    assert seen.end is not None
    assert seen.end["reason"] == "finished"
    assert len(seen.validations) == 3
    assert seen.samples is not None
    assert {"heard", "person", "bot"} == seen.samples["samples"][0].keys()


def test_following_ends_with_the_run(make_run: MakeRun) -> None:
    seen = Summary()
    for part in follow(make_run()):
        seen.add(part)
    assert len(seen.steps) == 120
    assert seen.clipped(1.0) == 0.5
    assert seen.clipped(0.0) is None


def test_where_no_run_is_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ElmanError, match="no such folder"):
        check(tmp_path / "nowhere")
    with pytest.raises(ElmanError, match="no run here"):
        check(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_is_written(make_run: MakeRun, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run()
    *_, written = write_events(run, tmp_path / "tb")
    assert written == len((run / LOG).read_text().splitlines())
    found = EventAccumulator(str(tmp_path / "tb")).Reload()
    norms = found.Scalars("gradient/norm")
    assert [event.step for event in norms] == list(range(1, 121))
    assert [event.value for event in norms[:2]] == [2.0, 0.5]
    assert norms[-1].wall_time - norms[0].wall_time == pytest.approx(11.9, abs=1e-3)
    assert len(found.Scalars("loss/held-out bits per byte")) == 3
    assert len(found.Scalars("gradient by lag/layer 1, 2 back")) == 4
    assert {"warnings/text_summary", "replies/1/text_summary"} <= set(found.Tags()["tensors"])
