"""elman chat"""

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.options import (
    DatabaseOption,
    RankingOptions,
    SamplingOptions,
    TrustOption,
    UnsureOptions,
    WeightsOption,
    as_weights,
    open_store,
    with_groups,
)
from elman.cli.sessions import draw_tree
from elman.cli.text import plain, tell
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.chat import Session
    from elman.cli.attribution import AttributionLines

COMMANDS = {
    "/again": "another reply to the last message",
    "/teach TEXT": "what it should have said: from now on, the answer to that message",
    "/pick N": "take one of other replies as its answer from now on; /pick alone shows them",
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


@with_groups
def chat(
    *,
    bot: Annotated[
        Path, typer.Argument(help="The bot's folder, or base: the one that comes with Elman.")
    ] = Path("base"),
    speaker: Annotated[
        str | None, typer.Option("--as", help="Who you are, for a bot that knows people by name.")
    ] = None,
    sampling: SamplingOptions,
    ranking: RankingOptions,
    doubt: UnsureOptions,
    weights: WeightsOption = None,
    name: Annotated[
        str | None,
        typer.Option("--session", help="Keep the conversation under this name, or go on with it."),
    ] = None,
    database: DatabaseOption = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Begin with a persona of elman persona, or with what /save kept."),
    ] = None,
    explained: Annotated[
        bool, typer.Option("--why", help="After each reply, what each earlier message did for it.")
    ] = False,
    trust: TrustOption = None,
) -> None:
    """Talk with a bot; each line from a pipe is answered by one line.

    From a pipe, an empty line is answered by an empty one, and so is what cannot be done, with the
    reason on standard error. A line that begins with / and is no command is something said.

    Example: `elman chat bots/ann --session tea`; without a folder, with the base bot.
    """
    from elman.chat import MemoryStore, Session
    from elman.cli.attribution import AttributionLines
    from elman.model.folder import BASE
    from elman.runtime.choose import load_bot

    loaded = load_bot(bot, as_weights(weights), trust or ())
    params = sampling.params(loaded)
    if loaded.slower:
        tell(f"Replies are computed by {loaded.why}")
    if loaded.path == BASE:
        tell("This is the base bot, which knows nobody; elman train CHATS makes one of yours.")
    data = loaded.config["data"]
    known = data.get("known", ())
    if loaded.knows_names and speaker not in known:
        who = "knows people by name" if speaker is None else f"has never met {speaker}"
        names = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        tell(f"This bot {who}; with --as you can be {names}.")
    if name is not None and not name.strip():
        raise ElmanError("--session needs a name")
    replier = ranking.replier(loaded, params, doubt)
    with MemoryStore() if name is None else open_store(database) as store:
        session = Session(loaded, None, speaker, store, name or "", replier)
        if state is not None:
            if session.facts.messages:
                raise ElmanError(f"--state begins a conversation, and {session.name} goes on one")
            session.load(state)
        _greet(session)
        called = data.get("bot") or "bot"
        talk(session, called, AttributionLines(loaded, called, trust or ()), explained=explained)


def _greet(session: "Session") -> None:
    """Say where a session that goes on stands."""
    messages = f"{session.facts.messages:,} messages"
    if session.read_anew:
        tell(f"This session was kept with other weights: its {messages} were read anew.")
    elif session.facts.messages:
        tell(f"{session.name} goes on, {messages} old.")
    if session.unanswered:
        tell("Its last message has no reply yet: /again makes one.")


def talk(
    session: "Session", name: str, why: "AttributionLines | None" = None, *, explained: bool = False
) -> None:
    """Hold a conversation with a bot of some name on standard input and output, until it ends.

    Where `explained`, each reply is explained by `why`; else only those of which that is asked.
    """
    if sys.stdin.isatty():
        _at_a_terminal(Talk(session, why, explained), name)
    else:
        _from_a_pipe(Talk(session, why, explained, piped=True))


def _from_a_pipe(conversation: "Talk") -> None:
    """Answer each line by one line, so that the two can be laid side by side."""
    # Only a newline ends a line: what else Unicode breaks lines at is part of what is said.
    sys.stdin.reconfigure(errors="replace", newline="\n")  # type: ignore[union-attr]
    for line in map(str.strip, sys.stdin):
        said = said_why = ""
        try:
            if line:
                said = "".join(conversation.answer(line))
                said_why = conversation.explained(line)
        except ElmanError as error:
            tell(f"elman: {error}")
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
            tell(f"elman: {error}")
        except EOFError:
            return


@dataclass
class Talk:
    """Hold a conversation by lines of input: what is said, and commands.

    Args:
        session: where it begins; `/fork` goes to another.
        why: what explains a reply, on request.
        always: whether every reply is explained.
        piped: whether nobody is there to correct a mistake: what is no command is then said.
        shown: the replies of which one can be picked.
    """

    session: "Session"
    why: "AttributionLines | None" = None
    always: bool = False
    piped: bool = False
    shown: list[str] = field(default_factory=list, init=False)

    def speaks(self, line: str) -> bool:
        """Tell whether a line is answered by the bot itself."""
        return not self._is_command(line) or line.split(" ")[0] in ("/again", "/edit")

    def _is_command(self, line: str) -> bool:
        """Tell whether a line is a command; from a pipe `/help me` is none, nor is `/dance`."""
        command, _, rest = line.partition(" ")
        if not self.piped:
            return line.startswith("/")
        usages = [usage.split(" ") for usage in COMMANDS]
        return any(name == command and (arguments or not rest) for name, *arguments in usages)

    def explained(self, line: str) -> str:
        """Explain the answer to a line, where every reply is explained."""
        if self.why is None or not self.always or not self.speaks(line):
            return ""
        return self.why(self.session)

    def answer(self, line: str) -> Iterator[str]:
        """Answer a line, in pieces in which there is nothing that a terminal would obey.

        Raises:
            ElmanError: where a command is unknown, or cannot be done.
            EOFError: where it is time to leave.
        """
        if not self._is_command(line):
            return map(plain, self._said(line))
        if line == "/why" and self.why is not None:
            return iter([self.why(self.session)])
        command, _, rest = line.partition(" ")
        return map(plain, self._obey(command, rest.strip()))

    def _said(self, line: str) -> Iterator[str]:
        self.shown = []
        reply = self.session.say(line)
        if unread := self.session.unread_tokens:
            tell(f"elman: this message is long: its first {unread:,} tokens were not read")
        return self._told(reply)

    def _told(self, reply: Iterator[str]) -> Iterator[str]:
        """Say a reply, and where it came from if that may be both the net and people."""
        piece = None
        for piece in reply:
            yield piece
        last = self.session.replier.last
        if piece is None or last is None:
            return
        if last.origin in ("rule", "small talk", "taught", "written", "told"):
            yield f"  [{last.origin}]"
        elif self.session.replier.reply_from == "best":
            yield "  [said by somebody]" if last.origin == "data" else "  [made]"

    def _obey(self, command: str, rest: str) -> Iterator[str]:
        session = self.session
        match command:
            case "/teach":
                session.teach(rest)
                yield "taught; elman learn --from-feedback lets the weights follow"
            case "/pick":
                yield from self._pick(rest)
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
                yield draw_tree(session)
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

    def _pick(self, rest: str) -> Iterator[str]:
        """Show other replies, or take one of those that were shown last."""
        if not rest:
            self.shown = self.session.candidates()
            yield "\n".join(f"{n}  {text}" for n, text in enumerate(self.shown, 1))
            return
        number = _number("/pick", rest)
        if not 1 <= number <= len(self.shown):
            raise ElmanError(f"no reply {number} was shown: /pick alone shows some")
        text, self.shown = self.shown[number - 1], []
        self.session.teach(text)
        yield text


def _number(command: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ElmanError(f"{command} takes a number, not {text!r}")
    return int(text)


def _file(command: str, text: str) -> Path:
    try:
        names = shlex.split(text)
        if len(names) == 1:
            return Path(names[0]).expanduser()
    except (ValueError, RuntimeError) as error:  # of an open quote, of "~nobody"
        raise ElmanError(f"{command} {text}: {error}") from None
    raise ElmanError(f"{command} takes one file: {command} FILE")
