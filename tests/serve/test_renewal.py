"""A server takes a new version of a bot, and what is taught, while it runs."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from elman.data.locks import only_one
from elman.generate.replier import Replier
from elman.generate.taught import TaughtReplies
from elman.model import versions
from elman.model.folder import WEIGHTS
from elman.runtime.choose import load_bot
from elman.serve.renewal import RETIRED_SECONDS, VersionWatcher

from .conftest import Served, running


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "ann"))


def other_version(home: Path) -> None:
    """Make the bot a version whose weights are others."""
    from elman.model.tensor_files import read_tensors, write_tensors

    with only_one(home, print):
        old = versions.keep_first(home)
        with versions.draft(home, old) as folder:
            tensors, facts = read_tensors(old.folder / WEIGHTS)
            name = next(name for name in tensors if tensors[name].is_floating_point())
            tensors[name] = tensors[name] + 0.01
            write_tensors(folder / WEIGHTS, tensors, facts)
            new = versions.keep(home, folder, by="learn", parent=old)
        versions.make_current(home, new)


def ask(served: Served, text: str, before: str | None = None) -> dict[str, object]:
    with served.client() as http:
        body = {"model": "ann", "input": text, "previous_response_id": before}
        answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_new_version_is_served_and_no_reply_is_dropped(home: Path, tmp_path: Path) -> None:
    now = [0.0]
    with running({"ann": load_bot(home)}, tmp_path / "m.db") as served:
        service = served.service
        old = service.models["ann"]
        watcher = VersionWatcher(service, lambda folder: (load_bot(folder), None), lambda: now[0])
        first = ask(served, "what is 1 plus 1?")
        watcher.look()
        assert service.models["ann"] is old
        blocked = threading.Event()
        begin = old.batcher._begin

        def slow(jobs: object) -> None:
            blocked.wait()
            begin(jobs)  # type: ignore[arg-type]

        old.batcher._begin = slow  # type: ignore[method-assign]
        answers: list[dict[str, object]] = []
        asking = threading.Thread(target=lambda: answers.append(ask(served, "what is 2 plus 2?")))
        asking.start()
        while not old.batcher.open:
            pass
        other_version(home)
        watcher.look()
        new = service.models["ann"]
        assert new.fingerprint != old.fingerprint
        now[0] = RETIRED_SECONDS + 1
        watcher.look()
        assert old.batcher.open == 1, "who still replies is not ended"
        second = ask(served, "and 1 plus 2?", str(first["id"]))
        assert second["status"] == "completed"
        blocked.set()
        asking.join()
        assert answers[0]["status"] == "completed"
        watcher.look()
        assert not old.batcher._thread.is_alive()


def test_states_of_the_version_before_are_not_read_by_the_new_one(
    home: Path, tmp_path: Path
) -> None:
    """The transcript is replayed: all messages before are read again, and none is known."""
    with running({"ann": load_bot(home)}, tmp_path / "m.db") as served:
        watcher = VersionWatcher(served.service, lambda folder: (load_bot(folder), None))
        first = ask(served, "what is 1 plus 1?")
        read: list[int] = []
        other_version(home)
        watcher.look()
        decoder = served.service.models["ann"].bot.decoder
        of = decoder.read

        def watched(rows: Any, state: Any) -> Any:
            read.append(sum(len(part) for row in rows for part in row))
            return of(rows, state)

        object.__setattr__(decoder, "read", watched)
        second = ask(served, "and 1 plus 2?", str(first["id"]))
        usage = second["usage"]
        assert isinstance(usage, dict)
        assert usage["input_tokens_details"]["cached_tokens"] == 0
        assert sum(read) >= usage["input_tokens"]


def test_a_version_that_cannot_be_loaded_is_not_served(home: Path, tmp_path: Path) -> None:
    with running({"ann": load_bot(home)}, tmp_path / "m.db") as served:
        watcher = VersionWatcher(served.service, lambda folder: (load_bot(folder), None))
        old = served.service.models["ann"]
        other_version(home)
        (versions.find(home, versions.versions(home)[-1].id).folder / WEIGHTS).write_bytes(b"x")
        watcher.look()
        assert served.service.models["ann"] is old
        assert ask(served, "hello")["status"] == "completed"


def test_a_better_reply_of_the_page_holds_at_once(home: Path, tmp_path: Path) -> None:
    bot = load_bot(home)
    with running({"ann": bot}, tmp_path / "m.db", repliers={"ann": Replier(bot)}) as served:
        for number in range(20):
            first = ask(served, f"what is the word for {number}?")
            given = {"response_id": first["id"], "instead": f"w{number}", "consent": True}
            with served.client() as http:
                assert http.post("/v1/feedback", json=given).json()["taught"]
        for number in range(20):
            again = ask(served, f"What is the word for {number}")
            assert again["output"][0]["content"][0]["text"] == f"w{number}"  # type: ignore[index]


def test_a_stranger_s_better_reply_is_feedback_alone(home: Path, tmp_path: Path) -> None:
    """What somebody with a key says should be said is learned behind the gate, or not at all."""
    bot = load_bot(home)
    with running({"ann": bot}, tmp_path / "m.db", repliers={"ann": Replier(bot)}) as served:
        key = served.key("phone")
        with served.client(key) as http:
            body = {"model": "ann", "input": "hello"}
            first = http.post("/v1/responses", json=body).json()
            given = {"response_id": first["id"], "instead": "bad words", "consent": True}
            assert http.post("/v1/feedback", json=given).json()["taught"] is False
    assert TaughtReplies(home).pairs() == []
