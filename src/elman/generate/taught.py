"""What somebody taught a bot to answer: given from the next turn on, whatever the weights say."""

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from pathlib import Path

from elman.data.files import write_file
from elman.data.untrusted import parse_json, read_text
from elman.errors import ElmanError
from elman.generate.penalties import words_of
from elman.model.folder import COMMON, MAX_JSON_BYTES, is_built_in

TAUGHT = "taught.jsonl"
"""In a bot's folder, beside its versions: a line for each answer, of which the last one counts."""

MAX_TAUGHT_BYTES = 4_000
"""Of a message and of an answer."""

COMMON_SHARE = 0.02
"""Of messages: a word that stands in more of them tells little of what one is about."""

MAX_COUNTED_MESSAGES = 20_000
"""In which common words are counted."""

QUESTION_WORDS = frozenset("who whom whose what which when where why how".split())  # noqa: SIM905
OTHER_KIND_WORDS = frozenset(
    "my mine your yours his her hers their theirs our ours no not never".split()  # noqa: SIM905
)
KIND_WORDS = QUESTION_WORDS | OTHER_KIND_WORDS
"""Words that make another question of the same other words."""

MAX_LEAD_IN_WORDS = 5
"""Before a question, as in "tell me who"."""

SAME_KIND = {"which": "what", "mine": "my", "yours": "your", "whom": "who"}


class TaughtReplies:
    """Answers by what was asked, of one bot; read again where the file has changed.

    Args:
        home: the bot's folder.
        names: whether what is said begins with the speaker's name.
        common: words of little meaning (`common_words`); None: not known, and only what was taught
            word for word is answered.
    """

    def __init__(
        self, home: Path, names: bool = False, common: frozenset[str] | None = None
    ) -> None:
        self.path, self._names, self._common = home / TAUGHT, names, common
        self._seen: tuple[int, int] | None = None
        self._answers: dict[str, str] = {}
        self._alike: dict[frozenset[str], str] = {}

    def answer(self, asked: str) -> str | None:
        """Return what was taught for a message; case and punctuation do not count.

        In another wording it is known by its telling words, if it has any: all that are not common,
        and those that make it another question. What leads in to a question does not count.

        Raises:
            ElmanError: where the file is damaged.
        """
        self._read_again()
        if (found := self._answers.get(self._key(asked))) is not None:
            return found
        words = self._words(asked)
        for begin, word in enumerate(words[: MAX_LEAD_IN_WORDS + 1]):
            is_question = begin == 0 or word in QUESTION_WORDS
            if is_question and (found := self._alike.get(self._telling(words[begin:]))):
                return found
        return None

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
        if is_built_in(self.path.parent):
            raise ElmanError(
                f"the bot {self.path.parent.name} stays as it comes with Elman: elman train CHATS "
                "makes one of yours, which can be taught"
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

    def _read_again(self) -> None:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            self._seen, self._answers, self._alike = None, {}, {}
            return
        seen = facts.st_mtime_ns, facts.st_size
        if seen != self._seen:
            pairs = _read(self.path)
            self._answers = {self._key(asked): answer for asked, answer in pairs}
            self._alike = {self._telling(self._words(asked)): answer for asked, answer in pairs}
            self._alike.pop(frozenset(), None)
            self._seen = seen

    def _words(self, asked: str) -> list[str]:
        return [word.split("'")[0] for word in self._key(asked).split()]

    def _telling(self, words: Sequence[str]) -> frozenset[str]:
        """Return the words by which a message is known in other wordings; none: it is not."""
        if self._common is None:
            return frozenset()
        rare = {word for word in words if word not in self._common and word not in KIND_WORDS}
        kind = {SAME_KIND.get(word, word) for word in words if word in KIND_WORDS}
        return frozenset(rare | kind) if rare else frozenset()

    def _key(self, asked: str) -> str:
        name, colon, said = asked.partition(": ")
        if self._names and colon and name.strip():
            asked = said
        return " ".join(words_of(asked)) or asked.strip()


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words that stand in many of some messages."""
    count, often = 0, Counter[str]()
    for text in islice(texts, MAX_COUNTED_MESSAGES):
        often.update({word.split("'")[0] for word in words_of(text)})
        count += 1
    return frozenset(word for word, times in often.items() if times > COMMON_SHARE * count)


def write_common_words(folder: Path, words: frozenset[str]) -> None:
    """Keep common words in the folder of a version."""
    write_file(folder / COMMON, json.dumps(sorted(words)) + "\n", follow_link=False)


def read_common_words(folder: Path) -> frozenset[str] | None:
    """Read what `write_common_words` wrote; None where nothing was.

    Raises:
        ElmanError: where it is damaged.
    """
    path = folder / COMMON
    if not path.exists():
        return None
    words = parse_json(read_text(path, MAX_JSON_BYTES), path)
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise ElmanError(f"{path}: expected a list of words; delete it")
    return frozenset(words)


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
