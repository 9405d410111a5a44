"""elman lens BOT CHAT: what it says, and what it says to mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.data.files import write_file
from elman.train import Config, train

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lens") / "new.txt"
    blocks = [
        "Bob: is anybody there?\nCid: not me",
        "\n".join(
            f"Bob: what is {n} plus 1?\nAnn: it is {n + 1}, Bob. <b>&amp;</script>"
            for n in range(9)
        ),
        "Ann: hello\nBob: hi",
        "Bob: and 2?\nAnn: it is 2.",
    ]
    path.write_text("\n\n".join(blocks) + "\n", "utf-8")
    return path


def looked(elman: Run, *arguments: object) -> dict[str, Any]:
    ran = elman("lens", *arguments, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_json_page_and_summary(elman: Run, trained: Path, chat: Path, tmp_path: Path) -> None:
    page = tmp_path / "lens.html"
    seen = looked(elman, trained, chat, "--out", page)
    assert seen["html"] == str(page)
    assert seen["name"] == "Ann"
    # Cid's conversation is left out: Ann is not in it.
    assert (seen["conversation"], seen["conversations"]) == (1, 3)
    messages = seen["messages"]
    assert [m["author"] for m in messages] == ["Bob", "Ann"] * 9
    assert [m["counts"] for m in messages] == [False, True] * 9
    assert all((m["nats"] > 0) == m["counts"] for m in messages)
    assert all(len(m["direct"]) == len(seen["layers"]) == 2 for m in messages)
    assert messages[-1]["gradient"] == [0, 0]
    assert all(m["direct"][0] > 0 for m in messages[:-1:2])
    for weight in seen["weights"]:
        # To four digits each.
        assert sum(weight["shares"]) == pytest.approx(1, abs=0.01)
    assert list(seen["unfoldings"]) == ["1", "2", "5", "10"]
    shares = [each["share"] for each in seen["unfoldings"].values()]
    assert shares == sorted(shares, reverse=True)
    assert seen["lags"]["reach"] >= 1
    assert sum(map(len, (t["pieces"] for t in seen["tokens"]))) == sum(
        m["tokens"] for m in messages
    )
    assert seen["unfold"] == {
        "count": 16,
        "unit": "tokens",
        "messages": pytest.approx(0.8, abs=0.5),
    }
    assert seen["lost"] == []

    text = page.read_text("utf-8")
    assert text.count("</script>") == 2, "no text of the chat ends an element"
    for outside in ("http:", "https:", "src=", "href=", "@import", "url(", "fetch("):
        assert outside not in text.replace("http://www.w3.org/2000/svg", ""), outside

    ran = elman("lens", trained, chat)
    assert ran.code == 0
    assert "messages back" in ran.out
    assert "exact: loss, direct and indirect gradient" in ran.out
    assert "sampled: the gradient by lag" in ran.out


def test_another_conversation(elman: Run, trained: Path, chat: Path) -> None:
    seen = looked(elman, trained, chat, "--conversation", 3)
    assert [m["text"] for m in seen["messages"]] == ["and 2?", "it is 2."]
    assert seen["unfoldings"] == {}


def test_the_bot_under_another_name(elman: Run, trained: Path, chat: Path) -> None:
    seen = looked(elman, trained, chat, "--bot", "Bob", "--conversation", 2)
    assert [m["role"] for m in seen["messages"]] == ["bot", "user"] * 9


def test_the_base_bot_knows_no_name(elman: Run, chat: Path) -> None:
    seen = looked(elman, "base", chat)
    assert seen["name"] == "the bot"
    assert (seen["memory"], seen["cell"], seen["hidden_size"]) == ("tokens", "lstm", 768)


@pytest.mark.parametrize("cell", ["rnn", "gru", "mingru"])
def test_the_memory_of_messages(
    elman: Run, make_config: Callable[..., Config], chat: Path, tmp_path: Path, cell: str
) -> None:
    train(make_config(model__memory="messages", model__cell=cell, train__unfold=3, train__steps=3),
          tmp_path / "bot")  # fmt: skip
    seen = looked(elman, tmp_path / "bot", chat)
    assert seen["unfold"] == {"count": 3, "unit": "messages", "messages": 3}
    assert seen["lags"]["tokens"] is None
    assert "conversation.0.weight_ih" in {weight["name"] for weight in seen["weights"]}
    assert "gradient" not in seen["tokens"][0]


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_rounded_weights_say_what_is_lost(
    elman: Run, trained: Path, chat: Path, tmp_path: Path, precision: str
) -> None:
    seen = looked(elman, trained, chat, "--precision", precision, "--out", tmp_path / "x.html")
    (words,) = seen["lost"]
    assert f"rounded to {precision} have no gradient" in words
    assert "unfoldings" not in seen
    exact = looked(elman, trained, chat)
    for rounded, own in zip(seen["messages"], exact["messages"], strict=True):
        assert rounded["nats"] == pytest.approx(own["nats"], rel=0.1)
    ran = elman("lens", trained, chat, "--precision", precision)
    assert "lost: " in ran.out


def test_an_endless_conversation_is_sampled_and_says_so(
    elman: Run, trained: Path, tmp_path: Path
) -> None:
    endless = tmp_path / "endless.txt"
    lines = (f"{'Bob' if n % 2 == 0 else 'Ann'}: {n % 10}" for n in range(100_000))
    endless.write_text("\n".join(lines) + "\n")
    seen = looked(elman, trained, endless)
    assert len(seen["messages"]) == 512
    assert seen["skipped"] == 100_000 - 512
    assert any("has 100,000 messages: its last 512 are shown" in words for words in seen["sampled"])


def test_a_run_that_is_still_being_written(
    elman: Run, make_config: Callable[..., Config], chat: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bot"
    asked = iter([False, False, True])
    train(make_config(), folder, stop=lambda: next(asked))
    seen = looked(elman, folder, chat)
    assert any(
        "the run is not finished" in words and "step 2" in words for words in seen["sampled"]
    )
    (folder / "model.safetensors").unlink()
    ran = elman("lens", folder, chat)
    assert (ran.code, ran.out) == (2, "")
    assert "has no weights yet" in ran.err
    write_file(folder / "config.json", "{")
    assert "damaged" in elman("lens", folder, chat).err


def test_compare_trains_six_networks(
    elman: Run, trained: Path, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.cli.compare.COMPARED_HIDDEN_SIZE", 8)
    monkeypatch.setattr("elman.cli.compare.COMPARED_VOCABULARY", 300)
    seen = looked(
        elman, trained, chats, "--compare", "--compare-steps", 10, "--out", tmp_path / "x"
    )
    runs = seen["compare"]["runs"]
    assert [(run["cell"], run["clip"]) for run in runs] == [
        (cell, clip) for cell in ("rnn", "gru", "lstm") for clip in (1.0, 0.0)
    ]
    for run in runs:
        assert run["ended"] or len(run["loss"]) == len(run["norm"]) == 10
        assert (run["lags"] is None) == (run["ended"] is not None)
    # The same seed and order: until something is clipped, both runs are one.
    for clipped, free in zip(runs[::2], runs[1::2], strict=True):
        assert clipped["loss"][0] == free["loss"][0]
    assert any("the bot was trained or chosen with" in words for words in seen["exact"])
    ran = elman("lens", trained, chats, "--compare", "--compare-steps", 10)
    assert "largest norm" in ran.out


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("", (), "empty; expected conversations"),
        ("Bob: hello\nCid: hi\n", (), "Ann"),
        ("Ann: hello\nBob: hi\n", (), "Ann never answers anybody"),
        ("Bob: 1\nAnn: 2\n", ("--conversation", 2), "has 1 conversation"),
        ("Ann: 1\nBob: 2\n", ("--conversation", 1), "in conversation 1 Ann never answers"),
        ("Bob: 1\nAnn: 2\n", ("--bot", "Dan"), "nobody has that name"),
        ("Bob: 1\nAnn: 2\n", ("--precision", "int4"), "--precision int4: float32, bfloat16, int8"),
        ("Bob: 1\nAnn: 2\n", ("--out", "no/such/folder/x.html"), "no/such/folder"),
    ],
)
def test_mistakes(
    elman: Run, trained: Path, tmp_path: Path, text: str, arguments: tuple[object, ...], said: str
) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(text)
    ran = elman("lens", trained, path, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    (line,) = ran.err.splitlines()
    assert line.startswith("elman: ")
    assert said in line


def test_no_such_bot(elman: Run, chat: Path) -> None:
    ran = elman("lens", "nobody", chat)
    assert ran.code == 2
    assert "no bot here" in ran.err
