"""What somebody taught a bot to answer: given from the next turn on, whatever the weights say."""

import json
import os
import re
from collections.abc import Collection
from pathlib import Path

from elman.data.files import write_file
from elman.data.untrusted import parse_json, read_text
from elman.errors import ElmanError
from elman.generate.penalties import words_of
from elman.model.folder import BASE, MAX_JSON_BYTES

TAUGHT = "taught.jsonl"
"""In a bot's folder, beside its versions: a line for each answer, of which the last one counts."""

MAX_TAUGHT_BYTES = 4_000
"""Of a message and of an answer."""


class TaughtReplies:
    """Answers by what was asked, of one bot; read again where the file has changed.

    Args:
        home: the bot's folder.
        names: whether what is said begins with the speaker's name.
    """

    def __init__(self, home: Path, names: bool = False) -> None:
        self.path, self._names = home / TAUGHT, names
        self._seen: tuple[int, int] | None = None
        self._answers: dict[str, str] = {}

    def answer(self, asked: str) -> str | None:
        """Return what was taught for a message; case and punctuation do not count.

        Raises:
            ElmanError: where the file is damaged.
        """
        return self._current().get(self._key(asked))

    def pairs(self) -> list[tuple[str, str]]:
        """Return each message that was taught last with its answer, as they were written.

        Raises:
            ElmanError: where the file is damaged.
        """
        found: dict[str, tuple[str, str]] = {}
        for asked, answer in _read(self.path):
            found.pop(self._key(asked), None)
            found[self._key(asked)] = asked, answer
        return list(found.values())

    def teach(self, asked: str, answer: str) -> None:
        """Teach an answer; it is on disk when this returns.

        Raises:
            ElmanError: where there is nothing to teach, it is too long, or it cannot be written.
        """
        if self.path.parent == BASE:
            raise ElmanError(
                "the base bot stays as it comes with Elman: elman train CHATS makes one of yours, "
                "which can be taught"
            )
        for text in (asked, answer):
            if not text.strip():
                raise ElmanError("there is nothing in what it should say, or in what was asked")
            if len(text.encode(errors="replace")) > MAX_TAUGHT_BYTES:
                raise ElmanError(f"more than {MAX_TAUGHT_BYTES:,} bytes cannot be taught at once")
        try:
            with self.path.open("ab+") as file:
                file.truncate(_whole_bytes(self.path))  # what a crash left is half a line
                file.write(_line(asked, answer).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ElmanError(
                f"{self.path}: cannot be written: {error.strerror}; nothing was taught"
            ) from None

    def drop(self, texts: Collection[str]) -> int:
        """Forget every pair in which one of some texts stands, as whole words; return how many.

        Raises:
            ElmanError: where the file is damaged, or cannot be written.
        """
        wanted = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE) for text in texts]
        pairs = _read(self.path)
        kept = [
            pair for pair in pairs if not any(each.search(said) for said in pair for each in wanted)
        ]
        if len(kept) < len(pairs):
            write_file(self.path, "".join(_line(*pair) for pair in kept))
        return len(pairs) - len(kept)

    def _current(self) -> dict[str, str]:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return {}
        seen = facts.st_mtime_ns, facts.st_size
        if seen != self._seen:
            self._answers = {self._key(asked): answer for asked, answer in _read(self.path)}
            self._seen = seen
        return self._answers

    def _key(self, asked: str) -> str:
        name, colon, said = asked.partition(": ")
        if self._names and colon and name.strip():
            asked = said
        return " ".join(words_of(asked)) or asked.strip()


def _line(asked: str, answer: str) -> str:
    return json.dumps({"asked": asked, "answer": answer}) + "\n"


def _whole_bytes(path: Path) -> int:
    """Return how much of a file is whole lines."""
    return path.read_bytes().rfind(b"\n") + 1


def _read(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    whole = read_text(path, MAX_JSON_BYTES)
    found = []
    for number, line in enumerate(whole[: whole.rfind("\n") + 1].splitlines(), 1):
        where = f"{path}: line {number}"
        pair = parse_json(line, where)
        try:
            asked, answer = pair["asked"], pair["answer"]
        except (TypeError, KeyError):
            asked = answer = None
        if not (isinstance(asked, str) and isinstance(answer, str)):
            raise ElmanError(f'{where}: expected {{"asked": TEXT, "answer": TEXT}}; delete it')
        found.append((asked, answer))
    return found
