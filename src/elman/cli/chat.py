"""elman chat"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from elman.cli.text import plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.chat import Session
    from elman.cli.why import Why

COMMANDS = {
    "/undo": "forget the last message and its reply",
    "/again": "another reply to the last message",
    "/reset": "forget everything",
    "/save FILE": "keep the state of this conversation in a file",
    "/load FILE": "go on from a kept state",
    "/why": "what each message did for the last reply, and what it is near to",
    "/state": "size, age and norm of the memory",
    "/help": "this list",
    "/quit": "leave (so does the end of input)",
}


def chat(
    bot: Annotated[
        Path, typer.Argument(help="The bot's folder, or base: the one that comes with Elman.")
    ] = Path("base"),
    speaker: Annotated[
        str | None,
        typer.Option("--as", help="Who you are, for a bot that knows people by name."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest; higher is more surprising.")
    ] = 0.8,
    top_p: Annotated[float, typer.Option(help="Choose among this share of probability.")] = 0.95,
    min_p: Annotated[
        float, typer.Option(help="Leave out what is less likely than this share of the likeliest.")
    ] = 0.02,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1: say the same less often.")
    ] = 1.1,
    longest: Annotated[int, typer.Option(help="Tokens of a reply, at most.")] = 200,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same replies.")] = None,
    precision: Annotated[
        str, typer.Option(help="Of the weights: float32, bfloat16 or int8 (least to read).")
    ] = "float32",
    why: Annotated[
        bool,
        typer.Option("--why", help="After each reply, what each earlier message did for it."),
    ] = False,
) -> None:
    """Talk with a bot; lines from a pipe are answered one by one.

    Example: `elman chat bots/ann --temperature 0.6`; without a folder, with the base bot.
    """
    from pydantic import ValidationError

    from elman.bptt.decode import Precision
    from elman.chat import Session
    from elman.cli.why import Why
    from elman.model.checkpoint import BASE, load_bot
    from elman.model.decoding import Sampling

    try:
        sampling = Sampling(
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            longest=longest,
            seed=seed,
        )
    except ValidationError as error:
        item = error.errors()[0]
        option = str(item["loc"][0]).replace("_", "-")
        raise ElmanError(f"--{option} {item['input']}: {item['msg']}") from None
    if precision not in get_args(Precision):
        raise ElmanError(f"--precision {precision}: {', '.join(get_args(Precision))}")
    loaded = load_bot(bot, cast(Precision, precision))
    if loaded.path == BASE:
        print(
            "This is the base bot, which knows nobody; elman train CHATS makes one of yours.",
            file=sys.stderr,
        )
    known = loaded.config["data"].get("known", ())
    if loaded.knows_names and speaker not in known:
        who = "knows people by name" if speaker is None else f"has never met {speaker}"
        names = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        print(plain(f"This bot {who}; with --as you can be {names}."), file=sys.stderr)
    name = loaded.config["data"].get("bot") or "bot"
    talk(Session(loaded, sampling, speaker), name, Why(loaded, name), after_each=why)


def talk(
    session: "Session", name: str, why: "Why | None" = None, *, after_each: bool = False
) -> None:
    """Hold a conversation on standard input and output, until it ends.

    Args:
        session: with whom.
        name: the bot's.
        why: what explains a reply, if anything does.
        after_each: whether every reply is explained.
    """
    if sys.stdin.isatty():
        _at_a_terminal(session, name, why, after_each)
        return
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    for line in sys.stdin:
        if line.strip():
            try:
                # One line in, one line out: a reply of several lines becomes one.
                said = "".join(answer(session, line.strip(), why))
                print(said if line.startswith("/why") else " ".join(said.split("\n")), flush=True)
                if why is not None and after_each and _speaks(line.strip()):
                    print(why(session), flush=True)
            except ElmanError as error:
                print(f"elman: {plain(str(error))}", file=sys.stderr, flush=True)
            except EOFError:
                return


def _speaks(line: str) -> bool:
    """Whether a line of input is answered by the bot itself."""
    return not line.startswith("/") or line == "/again"


def _at_a_terminal(session: "Session", name: str, why: "Why | None", after_each: bool) -> None:
    import readline  # noqa: F401  (gives input() editing and history)

    print(
        f"Talk with {plain(name)}. /help lists the commands; Ctrl-C stops a reply, Ctrl-D leaves."
    )
    while True:
        try:
            line = input("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not line:
            continue
        try:
            speaks = _speaks(line)
            if speaks:
                print(f"{plain(name)}> ", end="", flush=True)
            for piece in answer(session, line, why):
                print(piece, end="", flush=True)
            print()
            if why is not None and after_each and speaks:
                print(why(session))
        except KeyboardInterrupt:
            print(" …")
        except ElmanError as error:
            print(f"elman: {plain(str(error))}", file=sys.stderr)
        except EOFError:
            return


def answer(session: "Session", line: str, why: "Why | None" = None) -> Iterator[str]:
    """What is shown for one line of input, in pieces, with nothing that a terminal would obey.

    Raises:
        ElmanError: where a command is unknown, or cannot be done.
        EOFError: where it is time to leave.
    """
    if not line.startswith("/"):
        yield from map(plain, session.say(line))
        return
    try:
        command, *arguments = shlex.split(line)
    except ValueError as error:
        raise ElmanError(f"{line}: {error}") from None
    if command in ("/save", "/load"):
        if len(arguments) != 1:
            raise ElmanError(f"{command} takes one file: {command} FILE")
        try:
            path = Path(arguments[0]).expanduser()
        except RuntimeError as error:  # of "~nobody"
            raise ElmanError(f"{arguments[0]}: {error}") from None
        if command == "/save":
            session.save(path)
            yield f"kept in {path} ({path.stat().st_size:,} bytes)"
        else:
            session.load(path)
            yield f"{path}: {session.facts.messages:,} messages old"
        return
    if arguments:
        raise ElmanError(f"{command} takes nothing after it")
    match command:
        case "/again":
            yield from map(plain, session.again())
        case "/undo":
            session.undo()
            yield f"undone; {session.facts.messages:,} messages are left"
        case "/reset":
            session.reset()
            yield "everything is forgotten"
        case "/why" if why is not None:
            yield why(session)
        case "/state":
            facts = session.facts
            yield (f"{facts.bytes:,} bytes, {facts.messages:,} messages old, norm {facts.norm:.2f}")
        case "/help":
            width = max(map(len, COMMANDS))
            yield "\n".join(f"{name:{width}}  {what}" for name, what in COMMANDS.items())
        case "/quit":
            raise EOFError
        case _:
            raise ElmanError(f"no command {command}; /help lists them")
