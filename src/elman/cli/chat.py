"""elman chat"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from elman.cli.reply_options import (
    MmiWeightOption,
    ReplyFromOption,
    SamplesOption,
    TemperatureOption,
    UnsureOption,
    WrongOption,
    make_params,
    make_replier,
)
from elman.cli.store import DatabaseOption, open_store
from elman.cli.text import plain
from elman.cli.trust import Trust
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.chat import Node, Session
    from elman.cli.attribution import AttributionLines

COMMANDS = {
    "/again": "another reply to the last message",
    "/undo N": "go back N messages and their replies (1 if left out)",
    "/edit N TEXT": "say something else in the place of message N",
    "/fork NAME": "go on in another session that begins with all this",
    "/tree": "what was said, with all branches, numbered",
    "/why": "what each message did for the last reply, and what it is near to",
    "/reset": "forget everything",
    "/save FILE": "keep the state of this conversation in a file",
    "/load FILE": "go on from a kept state",
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
    temperature: TemperatureOption = None,
    top_p: Annotated[float, typer.Option(help="Choose among this share of probability.")] = 0.95,
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Leave out what is less likely than this share of the likeliest.  "
            "[default: as training found it best]"
        ),
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1: say the same less often.")
    ] = 1.1,
    max_tokens: Annotated[int, typer.Option(help="Tokens of a reply, at most.")] = 200,
    samples: SamplesOption = None,
    mmi_weight: MmiWeightOption = None,
    reply_from: ReplyFromOption = "generate",
    unsure: UnsureOption = None,
    wrong: WrongOption = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same replies.")] = None,
    precision: Annotated[
        str, typer.Option(help="Of the weights: float32, bfloat16 or int8 (least to read).")
    ] = "float32",
    name: Annotated[
        str | None,
        typer.Option("--session", help="Keep the conversation under this name, or go on with it."),
    ] = None,
    database: DatabaseOption = None,
    explained: Annotated[
        bool,
        typer.Option("--why", help="After each reply, what each earlier message did for it."),
    ] = False,
    trust: Trust = None,
) -> None:
    """Talk with a bot; each line from a pipe is answered by one line.

    From a pipe, an empty line is answered by an empty one, and so is what cannot be done, with the
    reason on standard error. A line that begins with / and is no command is something said.

    Example: `elman chat bots/ann --session tea`; without a folder, with the base bot.
    """
    from elman.bptt.decode import Precision
    from elman.chat import MemoryStore, Session
    from elman.cli.attribution import AttributionLines
    from elman.model.checkpoint import BASE, load_bot

    if precision not in get_args(Precision):
        raise ElmanError(f"--precision {precision}: {', '.join(get_args(Precision))}")
    loaded = load_bot(bot, cast(Precision, precision), trust or ())
    params = make_params(
        loaded,
        temperature=temperature,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        max_tokens=max_tokens,
        seed=seed,
    )
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
    if name is not None and not name.strip():
        raise ElmanError("--session needs a name")
    replier = make_replier(
        loaded,
        params,
        samples=samples,
        mmi_weight=mmi_weight,
        reply_from=reply_from,
        unsure=unsure,
        wrong=wrong,
    )
    with MemoryStore() if name is None else open_store(database) as store:
        session = Session(loaded, None, speaker, store, name or "", replier)
        _greet(session)
        called = loaded.config["data"].get("bot") or "bot"
        talk(session, called, AttributionLines(loaded, called), explained=explained)


def _greet(session: "Session") -> None:
    """Say where a session that goes on stands."""
    messages = session.facts.messages
    if session.read_anew:
        print(
            f"This session was kept with other weights: its {messages:,} messages were read anew.",
            file=sys.stderr,
        )
    elif messages:
        print(plain(f"{session.name} goes on, {messages:,} messages old."), file=sys.stderr)
    if session.unanswered:
        print("Its last message has no reply yet: /again makes one.", file=sys.stderr)


def talk(
    session: "Session", name: str, why: "AttributionLines | None" = None, *, explained: bool = False
) -> None:
    """Hold a conversation on standard input and output, until it ends.

    Args:
        session: with whom.
        name: the bot's.
        why: what explains a reply, if anything does.
        explained: whether every reply is.
    """
    if sys.stdin.isatty():
        _at_a_terminal(Talk(session, why, explained), name)
    else:
        _from_a_pipe(Talk(session, why, explained, piped=True))


def _from_a_pipe(conversation: "Talk") -> None:
    """One line out for each line in, so that the two can be laid side by side."""
    # Only a newline ends a line: what else Unicode breaks lines at is part of what is said.
    sys.stdin.reconfigure(errors="replace", newline="\n")  # type: ignore[union-attr]
    for line in map(str.strip, sys.stdin):
        said = said_why = ""
        try:
            if line:
                said = "".join(conversation.answer(line))
                said_why = conversation.explained(line)
        except ElmanError as error:
            print(f"elman: {plain(str(error))}", file=sys.stderr, flush=True)
        except EOFError:
            return
        print(" ".join(said.splitlines()), flush=True)
        if said_why:
            print(said_why, flush=True)


def _at_a_terminal(conversation: "Talk", name: str) -> None:
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
            if conversation.speaks(line):
                print(f"{plain(name)}> ", end="", flush=True)
            for piece in conversation.answer(line):
                print(piece, end="", flush=True)
            print()
            if said_why := conversation.explained(line):
                print(said_why)
        except KeyboardInterrupt:
            print(" …")
        except ElmanError as error:
            print(f"elman: {plain(str(error))}", file=sys.stderr)
        except EOFError:
            return


class Talk:
    """A conversation by lines of input: what is said, and commands.

    Args:
        session: where it begins; `/fork` goes to another.
        why: what explains a reply, if anything does.
        always: whether every reply is.
        piped: whether nobody is there to correct a command: what is none is something said.
    """

    def __init__(
        self,
        session: "Session",
        why: "AttributionLines | None" = None,
        always: bool = False,
        piped: bool = False,
    ) -> None:
        self.session = session
        self._why, self._always, self._piped = why, always, piped

    def speaks(self, line: str) -> bool:
        """Whether a line is answered by the bot itself."""
        return not self._is_command(line) or line.split(" ")[0] in ("/again", "/edit")

    def _is_command(self, line: str) -> bool:
        """Whether a line is a command: from a pipe `/help me` is not, nor is `/dance`."""
        command, _, rest = line.partition(" ")
        if not self._piped:
            return line.startswith("/")
        usages = [usage.split(" ") for usage in COMMANDS]
        return any(name == command and (arguments or not rest) for name, *arguments in usages)

    def explained(self, line: str) -> str:
        """AttributionLines it answered a line so, where every reply is explained."""
        if self._why is None or not self._always or not self.speaks(line):
            return ""
        return self._why(self.session)

    def answer(self, line: str) -> Iterator[str]:
        """What is shown for one line, in pieces, with nothing that a terminal would obey.

        Raises:
            ElmanError: where a command is unknown, or cannot be done.
            EOFError: where it is time to leave.
        """
        if not self._is_command(line):
            return map(plain, self._told(self._said(line)))
        if line == "/why" and self._why is not None:
            return iter([self._why(self.session)])
        command, _, rest = line.partition(" ")
        return map(plain, self._obey(command, rest.strip()))

    def _said(self, line: str) -> Iterator[str]:
        reply = self.session.say(line)
        if unread := self.session.unread_tokens:
            print(
                f"elman: this message is long: its first {unread:,} tokens were not read",
                file=sys.stderr,
            )
        return reply

    def _told(self, reply: Iterator[str]) -> Iterator[str]:
        """A reply, and where it came from if it may come from both the net and people."""
        pieces = 0
        for piece in reply:
            pieces += 1
            yield piece
        last = self.session.replier.last
        if not pieces or last is None:
            return
        if last.origin in ("rule", "small talk"):
            yield f"  [{last.origin}]"
        elif self.session.replier.reply_from == "best":
            yield "  [said by somebody]" if last.origin == "data" else "  [made]"

    def _obey(self, command: str, rest: str) -> Iterator[str]:
        session = self.session
        match command:
            case "/undo":
                session.undo(_number(command, rest or "1"))
                yield f"undone; {session.facts.messages:,} messages are left"
            case "/edit":
                number, _, text = rest.partition(" ")
                yield from self._told(session.edit(_number(command, number), text))
            case "/fork":
                if not session.name:
                    raise ElmanError("only a session can be forked: elman chat BOT --session NAME")
                if not rest:
                    raise ElmanError("/fork takes a name: /fork NAME")
                self.session = session.fork(rest)
                yield f"you are in {rest} now; {session.name} stays as it was"
            case "/save":
                path = _file(command, rest)
                session.save(path)
                yield f"kept in {path} ({path.stat().st_size:,} bytes)"
            case "/load":
                path = _file(command, rest)
                session.load(path)
                yield f"{path}: {session.facts.messages:,} messages old"
            case _ if rest:
                raise ElmanError(f"{command} takes nothing after it")
            case "/again":
                yield from self._told(session.again())
            case "/tree":
                yield "\n".join(drawn(session))
            case "/reset":
                session.reset()
                yield "everything is forgotten"
            case "/state":
                facts = session.facts
                size, age = f"{facts.bytes:,} bytes", f"{facts.messages:,} messages old"
                yield f"{size}, {age}, norm {facts.norm:.2f}"
            case "/help":
                width = max(map(len, COMMANDS))
                yield "\n".join(f"{name:{width}}  {what}" for name, what in COMMANDS.items())
            case "/quit":
                raise EOFError
            case _:
                raise ElmanError(f"no command {command}; /help lists them")


def _number(command: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ElmanError(f"{command} takes a number, not {text!r}")
    return int(text)


def _file(command: str, text: str) -> Path:
    try:
        names = shlex.split(text)
    except ValueError as error:
        raise ElmanError(f"{command} {text}: {error}") from None
    if len(names) != 1:
        raise ElmanError(f"{command} takes one file: {command} FILE")
    try:
        return Path(names[0]).expanduser()
    except RuntimeError as error:  # of "~nobody"
        raise ElmanError(f"{names[0]}: {error}") from None


TREE_TEXT_CHARS = 72
"""Characters of a message in the tree."""


def drawn(session: "Session") -> list[str]:
    """The tree of what was said: a branch is indented, and where we are is marked."""
    nodes = session.tree()
    if not nodes:
        return ["nothing was said yet"]
    here = {node.key for node in session.path}
    children: dict[bytes, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    keys = {node.key for node in nodes}
    waiting = [(node, 0) for node in reversed(nodes) if node.parent not in keys]
    lines = []
    while waiting:
        node, indent = waiting.pop()
        words = " ".join(node.text.split())
        words = words if len(words) <= TREE_TEXT_CHARS else words[: TREE_TEXT_CHARS - 1] + "…"
        mark = "*" if node.key in here else " "
        lines.append(f"{node.depth:>4}{mark} {'  ' * indent}{node.role:4}  {words}")
        after = children.get(node.key, [])
        # The first branch goes straight on, below the later ones.
        waiting += [(child, indent + (n > 0)) for n, child in enumerate(after)]
    return lines
