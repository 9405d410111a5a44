"""Corpora on disk are those in memory, token by token, however they are cut and by how many."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.data import file_span
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.file_span import spans
from elman.data.notes import Notes
from elman.data.readers import read
from elman.data.shards import build, finish
from elman.data.shards.build import CorpusBuild
from elman.data.shards.corpus import ShardedCorpus, open_corpus, verify
from elman.data.shards.files import HEADER_BYTES
from elman.data.shards.index import INDEX, TOKENIZER, partial, read_index
from elman.data.shards.pieces import cut
from elman.data.shards.work import PIECES_FOLDER, Encode
from elman.data.source import documents
from elman.data.tokenizer import MAX_LEARNED_BYTES, Tokenizer
from elman.data.view import View
from elman.errors import ElmanError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TURNS = st.lists(
    st.tuples(st.sampled_from(["Ann", "Bo", "Cleo"]), TEXTS, st.integers(0, 3)), max_size=8
)
FORMATS = ("turns", "messages", "transcript")


def line(name: str, number: int, talk: list[tuple[str, str, int]], timed: bool) -> str:
    if name == "transcript":
        return "\n".join(f"{who}: {' '.join(text.split())}" for who, text, _ in talk) + "\n\n"
    if name == "messages":
        roles = {"Ann": "assistant", "Bo": "user", "Cleo": "system"}
        said = [{"role": roles[who], "content": text} for who, text, _ in talk]
        return json.dumps({"messages": said}) + "\n"
    day = f"2024-01-{number % 28 + 1:02d}T0"
    times = [{"time": f"{day}{n}:00:00+00:00"} if timed else {} for n in range(len(talk))]
    said = [
        {"speaker": who, "text": text, **time}
        for (who, text, _), time in zip(talk, times, strict=True)
    ]
    return json.dumps({"id": f"talk {number}", "turns": said}) + "\n"


def assert_equal(
    folder: Path, sources: Path, tokenizer: Tokenizer, test: bool = False, **view: Any
) -> None:
    dataset = Dataset.read(str(sources), **view)
    expected, repeated = dataset.encode(tokenizer, test)
    index, _, parts = open_corpus(folder)
    assert parts.keys() == expected.keys()
    for name, corpus in expected.items():
        built = parts[name]
        assert len(built) == len(corpus)
        assert [a.tolist() for a in map(built.__getitem__, range(len(built)))] == [
            a.tolist() for a in map(corpus.__getitem__, range(len(corpus)))
        ]
        assert built.digest == corpus.digest
        assert (built.starts == corpus.starts).all()
        assert (built.tokens, built.message_count) == (corpus.tokens, corpus.message_count)
        assert built.first_tokens(7).tolist() == corpus.ids[:7].tolist()
    assert index.near_duplicates == repeated
    survey = dataset.survey
    assert (index.text_bytes, index.known) == (survey.text_bytes, list(dataset.known))
    assert (index.view.others, index.view.gap) == (dataset.others, dataset.gap)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat, and on that, too"] * 3, 280)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    talks=st.lists(st.lists(TURNS, max_size=30), min_size=1, max_size=3),
    formats=st.lists(st.sampled_from(FORMATS), min_size=3, max_size=3),
    timed=st.booleans(),
    piece_bytes=st.integers(1, 3000),
    shard_tokens=st.integers(1, 400),
    test=st.booleans(),
    bot=st.sampled_from([None, "Ann"]),
)
def test_any_cut_gives_the_corpus_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: Tokenizer,
    talks: list[list[list[tuple[str, str, int]]]],
    formats: list[str],
    timed: bool,
    piece_bytes: int,
    shard_tokens: int,
    test: bool,
    bot: str | None,
) -> None:
    home = tmp_path_factory.mktemp("ragged")
    sources = home / "sources"
    sources.mkdir()
    (sources / "a.jsonl").write_text(
        line("turns", 0, [("Ann", "Hi", 0), ("Bo", "Hello", 0), ("Ann", "Bye", 0)], timed) * 2
    )
    for number, (some, name) in enumerate(zip(talks, formats, strict=False)):
        text = "".join(line(name, n, talk, timed) for n, talk in enumerate(some))
        (sources / f"b{number}.txt").write_text(text, "utf-8", newline="")
    asked = CorpusBuild(
        [str(sources)], home / "out", View(bot=bot), test, tokenizer=tokenizer, workers=1,
        piece_bytes=piece_bytes, shard_tokens=shard_tokens,
    )  # fmt: skip
    asked.run()
    verify(home / "out")
    assert_equal(home / "out", sources, tokenizer, test, bot=bot)


def write_talks(path: Path, number: int, timed: bool = False) -> None:
    generator = np.random.default_rng(0)
    words = [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "and",
        "I",
        "was",
        "there",
        "too",
        "who",
        "would",
        "know",
    ]
    with path.open("w", encoding="utf-8") as file:
        for n in range(number):
            talk = [
                (who, " ".join(generator.choice(words, 1 + int(generator.integers(9)))), 0)
                for who in ["Ann", "Bo"] * int(generator.integers(1, 5))
            ]
            file.write(line("turns", n, talk, timed))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_tokenizer_is_learned_as_in_memory(tmp_path: Path, workers: int, timed: bool) -> None:
    write_talks(tmp_path / "a.jsonl", 300, timed)
    view: dict[str, Any] = {"bot": "Ann", "redact": True, "rename": True, "drop": ["nobody"][:0]}
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", View(**view), True,
        vocabulary=lambda size: 300, workers=workers, piece_bytes=5000, shard_tokens=900,
    )  # fmt: skip
    asked.run()
    dataset = Dataset.read(str(tmp_path / "a.jsonl"), **view)
    tokenizer = Tokenizer.train(dataset.texts(True, MAX_LEARNED_BYTES), 300)
    index = read_index(tmp_path / "out")
    assert index.tokenizer == tokenizer.digest
    assert len(index.parts["train"].shards) > 3
    assert_equal(tmp_path / "out", tmp_path / "a.jsonl", tokenizer, True, **view)
    assert not partial(tmp_path / "out").exists()


@pytest.mark.parametrize("every", [3, 5])
def test_texts_are_those_that_a_dataset_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    write_talks(tmp_path / "a.jsonl", 200)
    size = Dataset.read(str(tmp_path / "a.jsonl")).survey.text_bytes
    monkeypatch.setattr(build, "MAX_LEARNED_BYTES", size // every)
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", workers=1, piece_bytes=700,
        vocabulary=lambda size: 300,
    )  # fmt: skip
    asked.run()
    dataset = Dataset.read(str(tmp_path / "a.jsonl"))
    expected = Tokenizer.train(dataset.texts(False, size // every), 300)
    assert read_index(tmp_path / "out").tokenizer == expected.digest


def test_chats_archives_and_what_cannot_be_cut(tmp_path: Path, tokenizer: Tokenizer) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("a.txt", "Ann: Hi\nBo: Hello\n\n" * 5)
        archive.writestr("b.csv", "author,text\n" + "Ann,Good day\nBo,And to you\n" * 9)
    talks = ([("Ann", "x", 0), ("Bo", f"y {n}", 0)] for n in range(9))
    listed = [json.loads(line("turns", n, talk, False)) for n, talk in enumerate(talks)]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    names = [str(tmp_path / "both.zip"), str(tmp_path / "list.json")]
    asked = CorpusBuild(names, tmp_path / "out", tokenizer=tokenizer, workers=2, piece_bytes=10)
    _, notes = asked.run()
    told = Notes()
    found = list(read([each for name in names for each in documents(name)], told))
    index, _, parts = open_corpus(tmp_path / "out")
    every = Corpus.encode(found, tokenizer)
    assert sum(map(len, parts.values())) + index.near_duplicates == len(every)
    assert (notes.formats, notes.left_out) == (told.formats, told.left_out)


def test_errors_name_the_line_of_the_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_talks(tmp_path / "a.jsonl", 50)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{broken\n")
    asked = CorpusBuild([str(tmp_path / "a.jsonl")], tmp_path / "out", workers=2, piece_bytes=300)
    with pytest.raises(ElmanError, match=r"a\.jsonl: line 51, column"):
        asked.run()
    assert not (tmp_path / "out").exists()


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\n\n", b"cc"]), max_size=80),
    st.integers(1, 30),
    st.sampled_from([b"\n", b"\n\n"]),
    st.integers(1, 40),
)
def test_spans_are_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[bytes],
    size: int,
    separator: bytes,
    read_bytes: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "spans"
    data = b"".join(parts)
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(file_span, "READ_BYTES", read_bytes)
        found = spans(path, separator, size)
    assert all(each.end - each.begin >= size for each in found[:-1])
    assert b"".join(each.open(path).read() for each in found) == data
    for each in found:
        before = data[: each.begin]
        assert each.first_line == 1 + before.count(b"\n")
        assert not before or before.endswith(separator)


def test_notes_count_lines_of_the_whole_file(tmp_path: Path) -> None:
    text = "Ann: Hi\nBo: Hello\n\n" * 3 + "nobody said this\n\n" + "Ann: Hi\nBo: Hello\n\n"
    (tmp_path / "a.txt").write_text(text)
    notes = Notes()
    for piece in cut(documents(tmp_path / "a.txt"), Notes(), 1):
        list(piece.items(notes))
    assert list(notes.first.values()) == [f"{tmp_path / 'a.txt'}: line 10"]


# What was killed, and what is damaged.


@pytest.fixture
def built(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    write_talks(tmp_path / "a.jsonl", 120)
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", tokenizer=tokenizer, workers=1,
        piece_bytes=4000, shard_tokens=500,
    )  # fmt: skip
    asked.run()
    return tmp_path / "out"


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_build_that_was_killed_goes_on(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    write_talks(tmp_path / "a.jsonl", 120)
    said: list[str] = []
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", tokenizer=tokenizer, workers=1,
        piece_bytes=4000, shard_tokens=500, tell=said.append,
    )  # fmt: skip
    encoded: list[int] = []
    encode = Encode._encoded

    def killed(self: Encode, number: int, piece: Any) -> Any:
        if len(encoded) == done:
            raise KeyboardInterrupt
        encoded.append(number)
        return encode(self, number, piece)

    with monkeypatch.context() as patched:
        patched.setattr(Encode, "_encoded", killed)
        with pytest.raises(KeyboardInterrupt):
            asked.run()
    assert not (tmp_path / "out").exists()
    assert len(list((partial(tmp_path / "out") / PIECES_FOLDER).glob("*.json"))) == done
    asked.run()
    assert said.count(f"going on: {done} pieces were done before") == 1
    assert_equal(tmp_path / "out", tmp_path / "a.jsonl", tokenizer)


@pytest.mark.parametrize("at", ["part_of", "appear", "held_out_first"])
def test_killed_at_the_end_nothing_is_half_written(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    write_talks(tmp_path / "a.jsonl", 120)
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", tokenizer=tokenizer, workers=1
    )

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, at, killed)
        with pytest.raises(KeyboardInterrupt):
            asked.run()
    assert not (tmp_path / "out").exists()
    asked.run()
    assert_equal(tmp_path / "out", tmp_path / "a.jsonl", tokenizer)


BUILDING = """
import sys
from pathlib import Path
from elman.data.shards.build import CorpusBuild
from elman.data.tokenizer import Tokenizer

if __name__ == "__main__":
    source, out, tokenizer = sys.argv[1:]
    made = Tokenizer.from_json(open(tokenizer).read())
    CorpusBuild([source], Path(out), tokenizer=made, workers=2, piece_bytes=2000).run()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_kill_9_leaves_no_half_and_no_process(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_talks(tmp_path / "a.jsonl", 600)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    (tmp_path / "building.py").write_text(BUILDING)
    names = [str(tmp_path / name) for name in ("building.py", "a.jsonl", "out", "tokenizer.json")]
    process = subprocess.Popen([sys.executable, *names], start_new_session=True)
    records = partial(tmp_path / "out") / PIECES_FOLDER
    while not list(records.glob("*.json")):
        assert process.poll() is None, "ended before it was killed"
    process.kill()
    process.wait()
    while members := in_session(process.pid):
        assert members
    assert not (tmp_path / "out").exists()
    done = len(list(records.glob("*.json")))
    said: list[str] = []
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", tokenizer=tokenizer, workers=1,
        piece_bytes=2000, tell=said.append,
    )  # fmt: skip
    asked.run()
    assert f"going on: {done} pieces were done before" in said
    assert_equal(tmp_path / "out", tmp_path / "a.jsonl", tokenizer)


def in_session(leader: int) -> list[str]:
    """List the processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(stat.parent.name)
    return found


def test_another_build_begins_anew(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_talks(tmp_path / "a.jsonl", 120)
    source = [str(tmp_path / "a.jsonl")]
    asked = CorpusBuild(source, tmp_path / "out", tokenizer=tokenizer, workers=1, piece_bytes=4000)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build, "part_of", killed)
        with pytest.raises(KeyboardInterrupt):
            asked.run()
    other = CorpusBuild(source, tmp_path / "out", View(bot="Bo"), tokenizer=tokenizer, workers=1)
    other.run()
    assert_equal(tmp_path / "out", tmp_path / "a.jsonl", tokenizer, bot="Bo")


def first_shard(folder: Path) -> Path:
    return folder / read_index(folder).parts["train"].shards[0].file


def test_a_shard_that_is_gone_or_cut_is_seen_at_load(built: Path) -> None:
    path = first_shard(built)
    whole = path.read_bytes()
    for content, said in [
        (whole[:-1], "cut"),
        (whole + b"x", "not what the index says"),
        (whole[:10], "not even a header"),
        (b"", "not even a header"),
        (b"X" + whole[1:], "no part of a corpus"),
        (whole[:8] + struct.pack("<I", 9) + whole[12:], "of format 9"),
        (whole[:12] + bytes(32) + whole[44:], "another tokenizer made it"),
        (whole[:-4] + struct.pack("<I", 99_999), "damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ElmanError, match=said) as error:
            open_corpus(built)
        assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(ElmanError, match="cannot be read"):
        open_corpus(built)


def test_damage_is_seen_by_verify_and_where_it_is_read(built: Path) -> None:
    path = first_shard(built)
    whole = path.read_bytes()
    verify(built)
    for at, value in [(HEADER_BYTES, 0), (HEADER_BYTES + 2, 60_000)]:
        path.write_bytes(whole[:at] + struct.pack("<H", value) + whole[at + 2 :])
        _, _, parts = open_corpus(built)
        with pytest.raises(ElmanError, match=r"damaged.*elman data verify"):
            parts["train"][0]
        assert len(parts["train"][1])
    path.write_bytes(whole[: HEADER_BYTES + 2] + struct.pack("<H", 5) + whole[HEADER_BYTES + 4 :])
    open_corpus(built)[2]["train"][0]
    with pytest.raises(ElmanError, match="its digest is not that of the index"):
        verify(built)


def test_an_index_from_the_future_and_a_foreign_tokenizer(built: Path) -> None:
    index = json.loads((built / INDEX).read_text())
    for changed, said in [
        (index | {"format": 2, "elman": "9.0"}, "format 2, made by Elman 9.0"),
        ([], "format None"),
        (index | {"text_bytes": -1}, "text_bytes"),
        (index | {"strange": 1}, "strange"),
    ]:
        (built / INDEX).write_text(json.dumps(changed))
        with pytest.raises(ElmanError, match=said):
            open_corpus(built)
    (built / INDEX).write_text("{")
    with pytest.raises(ElmanError, match="damaged"):
        open_corpus(built)
    (built / INDEX).write_text(json.dumps(index))
    (built / TOKENIZER).write_text(Tokenizer.train((), 260).to_json())
    with pytest.raises(ElmanError, match="not the tokenizer that made this corpus"):
        open_corpus(built)


def test_a_shard_named_outside_of_its_folder_is_refused(built: Path) -> None:
    text = (built / INDEX).read_text().replace(first_shard(built).name, "../x.shard")
    (built / INDEX).write_text(text)
    with pytest.raises(ElmanError, match="pattern"):
        open_corpus(built)


def test_what_cannot_be_built_is_refused(tmp_path: Path, built: Path, tokenizer: Tokenizer) -> None:
    source = [str(tmp_path / "a.jsonl")]
    for asked, said in [
        (CorpusBuild(source, built), "a corpus is there already"),
        (CorpusBuild(source, tmp_path), "something is there already"),
        (CorpusBuild(["-"], tmp_path / "x"), "only once"),
        (CorpusBuild([str(built)], tmp_path / "x"), "a corpus that was built"),
        (CorpusBuild([str(tmp_path / "none")], tmp_path / "x"), "no such file"),
        (CorpusBuild(source, tmp_path / "x", View(canaries=3)), "canaries"),
        (CorpusBuild(source, tmp_path / "x", View(bot="Zoe"), tokenizer=tokenizer), "nobody has"),
    ]:
        with pytest.raises(ElmanError, match=said):
            asked.run()
        assert not (tmp_path / "x").exists()


def test_a_corpus_stands_for_its_sources(tmp_path: Path, built: Path) -> None:
    own, there = (Dataset.read(str(path)) for path in (tmp_path / "a.jsonl", built))
    assert list(own.conversations()) == list(there.conversations())
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(line("turns", 999, [("Ann", "More", 0), ("Bo", "No", 0)], False))
    with pytest.raises(ElmanError, match="has changed"):
        documents(built)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ElmanError, match="is gone"):
        documents(built)


def test_of_held_out_text_only_the_first_is_kept(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_talks(tmp_path / "a.jsonl", 400)
    monkeypatch.setattr(build, "MAX_HELD_OUT_BYTES", 300)
    monkeypatch.setattr(finish, "MAX_HELD_OUT_BYTES", 300)
    asked = CorpusBuild(
        [str(tmp_path / "a.jsonl")], tmp_path / "out", tokenizer=tokenizer, workers=1,
        piece_bytes=3000,
    )  # fmt: skip
    asked.run()
    expected, _ = Dataset.read(str(tmp_path / "a.jsonl")).encode(tokenizer, held_out=300)
    _, _, parts = open_corpus(tmp_path / "out")
    assert parts["dev"].digest == expected["dev"].digest
    assert isinstance(parts["train"], ShardedCorpus)
    with pytest.raises(TypeError, match="in files"):
        _ = parts["train"].ids
