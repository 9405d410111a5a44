"""elman train"""

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.data import Drop, Gap, seconds
from elman.cli.trust import Trust
from elman.errors import ElmanError


def train(
    chats: Annotated[
        str | None,
        typer.Argument(
            help="A file or folder of conversations, `-` for standard input, or `chitchat`, "
            "the built-in ones.",
        ),
    ] = None,
    bot: Annotated[
        str | None,
        typer.Option(help="Whose part the bot learns. Without it, all speakers are peers."),
    ] = None,
    others: Annotated[
        str | None,
        typer.Option(
            help="How it sees the other people: names, or user for all alike.  "
            "[default: names if there are several]"
        ),
    ] = None,
    gap: Gap = None,
    drop: Drop = None,
    redact: Annotated[
        bool | None,
        typer.Option("--redact", help="Put placeholders in the place of what is private."),
    ] = None,
    rename: Annotated[
        bool | None,
        typer.Option("--rename", help="Give people pseudonyms, in what they say too."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The bot's folder.  [default: bots/ and CHATS' name]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Budget in minutes, everything included.  [default: 10]")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Budget in passes over the data.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in optimizer steps.")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The bot to start from: base (comes with Elman), a folder, or none.  "
            "[default: base; none where a size or kind is given, or where the minutes read too "
            "little of the conversations for a bot of the base's size]"
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="tokens, or messages: one step for each.  [default: tokens]"),
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help="rnn, gru, lstm, or my.module:Name.  [default: lstm]")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.  [default: 2]")] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help="Size of each layer's state.  [default: from the minutes]")
    ] = None,
    mlp: Annotated[
        float | None,
        typer.Option(help="Width of each layer's MLP, in hidden sizes; 0: none.  [default: 0]"),
    ] = None,
    pointer: Annotated[
        int | None,
        typer.Option(help="Tokens back from which replies can copy; 0: none.  [default: 256]"),
    ] = None,
    ngrams: Annotated[
        int | None,
        typer.Option(help="Longest sequence of tokens that is counted; 0: none.  [default: 4]"),
    ] = None,
    unfold: Annotated[
        int | None,
        typer.Option(
            help="Units back the gradient goes.  [default: 64 steps (128 of bytes), 5 messages]"
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(help="What --unfold counts: steps or messages.  [default: the memory's]"),
    ] = None,
    slide: Annotated[
        bool | None,
        typer.Option("--slide", help="Learn every reply through exactly --unfold messages."),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="sgd, adam, adamw or muon.  [default: adamw]")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Highest learning rate.  [default: the optimizer's]")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Largest norm of the gradient; 0: off.  [default: 1]")
    ] = None,
    learn_from: Annotated[
        str | None,
        typer.Option(help="Messages to learn: bot or all.  [default: bot with --bot, else all]"),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Size of a new tokenizer, or bytes.  [default: bytes for under 1 MB, else 4096]"
        ),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Of each layer's output.  [default: from the data's size]")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Conversations side by side.  [default: 16; 8 over messages]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all randomness.  [default: 0]")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the files.  [default: utf-8]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting: a.b=v, such as train.warmup=0.05."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with this run, exactly where it stopped; with CHATS where its "
            "conversations moved."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bot that is already in --out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell everything as JSON Lines.")] = False,
    trust: Trust = None,
) -> None:
    """Train a bot on conversations.

    Example: `elman train chats.jsonl --bot Ann --out bots/ann --minutes 10`
    """
    started = time.monotonic()
    flags = {
        "data.path": chats,
        "data.bot": bot,
        "data.learn_from": learn_from,
        "data.others": others,
        "data.gap": seconds(gap),
        "data.drop": drop,
        "data.redact": redact,
        "data.rename": rename,
        "data.vocabulary": _vocabulary(vocabulary),
        "data.encoding": encoding,
        "model.memory": memory,
        "model.cell": cell,
        "model.layers": layers,
        "model.hidden_size": hidden_size,
        "model.mlp": mlp,
        "model.pointer": pointer,
        "model.ngrams": ngrams,
        "model.dropout": dropout,
        "train.base": base,
        "train.minutes": minutes,
        "train.epochs": epochs,
        "train.steps": steps,
        "train.unfold": unfold,
        "train.unit": unit,
        "train.slide": slide,
        "train.optimizer": optimizer,
        "train.lr": lr,
        "train.clip": clip,
        "train.lanes": lanes,
        "train.seed": seed,
    }
    from elman.cli import training

    if resume is not None:
        if out is not None or config is not None or overwrite:
            raise ElmanError(
                "--resume goes on in its own folder: leave out --out, --config and --overwrite"
            )
        result = training.resume(resume, flags, assign or [], as_json, started, trust or ())
        out = resume
    else:
        values = training.settings(config, flags, assign or [], trust or ())
        out = out or Path("bots") / default_name(values)
        result = training.begin(
            values,
            out,
            overwrite=overwrite,
            as_json=as_json,
            started=started,
            trust=trust or (),
        )
    if result.reason != "interrupted" and not as_json:
        training.say(f"talk with it: elman chat {out}{training.trusting(out)}")


def default_name(values: dict[str, Any]) -> str:
    """A folder's name for the bot of some data."""
    path = values.get("data", {}).get("path")
    if not path or not isinstance(path, str):
        raise ElmanError("name the conversations to learn from: elman train CHATS")
    stem = Path(path).name.split(".")[0] or "bot"
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "bot"


def _vocabulary(written: str | None) -> int | None:
    if written is None:
        return None
    if written == "bytes":
        from elman.data.tokenizer import SMALLEST

        return SMALLEST
    try:
        return int(written)
    except ValueError:
        raise ElmanError(f"--vocabulary {written}: expected a number, or bytes") from None
