"""The conversations of a source as somebody chose to see them: the same ones in every pass."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from elman.data.conversation import SYSTEM, Conversation, Message, Others
from elman.data.corpus import Corpus, encode_parts
from elman.data.overlap import near_duplicates, without
from elman.data.readers import Reading, choose_gap, dropped, read
from elman.data.source import BUILT_IN, Document, Notes, documents
from elman.data.split import Part, Split, Survey
from elman.data.tokenizer import Tokenizer

Change = Callable[[Message], Message]


class Dataset:
    """Conversations, surveyed once and read anew in each pass: they never lie in memory at once.

    Args:
        path: a file, a folder, an archive, `-` or `chitchat`: see `documents`.
        encoding: of the files.
        bot: whose part is learned; conversations without it are left out. None: all are peers.
        others: how the bot sees the other people; None: by name where there are several.
        gap: seconds without a message after which a chat begins anew; None: chosen from the data.
        drop: people whose messages are left out.
        redact: put placeholders in the place of what is private.
        rename: give people pseudonyms, of whom `bot` is told by either name.
        watch: shown every message during the survey, and not again.
        split: what decides what is held out; of the built-in conversations, "auto" is "id", so that
            figures that were reported for them stay comparable.

    Raises:
        ElmanError: where nothing can be read, or nobody has one of the names.
    """

    def __init__(
        self,
        path: str,
        encoding: str = "utf-8",
        *,
        bot: str | None = None,
        others: Others | None = None,
        gap: float | None = None,
        drop: Sequence[str] = (),
        redact: bool = False,
        rename: bool = False,
        split: Split = "auto",
        watch: Change | None = None,
    ) -> None:
        self.path = path
        self.notes = Notes()
        self._documents: list[Document] = documents(path, encoding)
        self.gap = choose_gap(self._documents) if gap is None else gap
        self._drop = frozenset(drop)
        self.bot = bot
        changes: list[Change] = []
        if redact:
            from elman.data.redact import Redactor

            hidden = Redactor()
            changes.append(hidden.message)
            self.bot = bot and hidden.name(bot)
        self.pseudonyms: dict[str, str] = {}
        if rename:
            from elman.data.rename import Pseudonyms

            names = Pseudonyms(self._count_people(changes))
            changes.append(names.message)
            self.pseudonyms = names.names
            self.bot = self.bot and self.pseudonyms.get(self.bot, self.bot)
        self._reading = Reading(self.gap, self._drop, _composed(changes))
        if path == BUILT_IN and split == "auto":
            split = "id"
        self.survey = Survey(split)
        self._everybody = self._survey(_composed([*changes, *([watch] if watch else [])]))
        if self.bot is not None:
            self._everybody.check_name(self.bot, "--bot")
        several = self.survey.largest_group > 2
        self.others: Others = others or ("names" if several and bot is not None else "user")

    def _count_people(self, changes: Sequence[Change]) -> Counter[str]:
        """Messages of everybody, also where nobody answered."""
        people: Counter[str] = Counter()

        def count(message: Message) -> Message:
            people[message.author] += 1
            return message

        reading = Reading(self.gap, self._drop, _composed([*changes, count]))
        for _ in read(self._documents, None, reading):
            pass
        del people[SYSTEM]
        return people

    def check_dropped(self) -> None:
        """Raises ElmanError where nobody has the name of somebody to be left out."""
        for name in self._drop:
            if dropped(name) not in self.notes.left_out:
                self._everybody.check_name(name, "--drop")

    def _survey(self, change: Change | None) -> Survey:
        """Fills the survey and the notes; returns a survey of everybody, silent bot or not."""
        everybody = Survey()

        def heard(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
            for conversation in conversations:
                everybody.authors.update(author for author, _ in conversation.runs())
                if self._is_heard(conversation):
                    yield conversation
                else:
                    self.notes.leave_out(
                        f"{self.bot} says nothing in their conversation",
                        conversation.id,
                        len(conversation.messages),
                    )

        reading = Reading(self.gap, self._drop, change)
        for _ in self.survey.texts(heard(read(self._documents, self.notes, reading))):
            pass
        return everybody

    def _is_heard(self, conversation: Conversation) -> bool:
        return self.bot is None or self.bot in conversation.authors

    def conversations(self) -> Iterator[Conversation]:
        """All of them, in the order of the source."""
        return filter(self._is_heard, read(self._documents, None, self._reading))

    def parts(self, test: bool = False) -> Iterator[tuple[Part, Conversation]]:
        """Each with the part that it belongs to, of train and dev, and test where one is wanted."""
        return self.survey.divide(self.conversations(), test)

    def encode(self, tokenizer: Tokenizer, test: bool = False) -> tuple[dict[str, Corpus], int]:
        """The parts as the bot sees them, and how many held-out conversations were left out because
        nearly the same is learned from.

        A part of which nothing would remain stays as it is.
        """
        parts = encode_parts(self.parts(test), tokenizer, self.bot, self.others)
        repeated = 0
        for part in ("dev", "test"):
            if part in parts and "train" in parts:
                near = near_duplicates(parts["train"], parts[part])
                if not near.all():
                    repeated += int(near.sum())
                    parts[part] = without(parts[part], near)
        return parts, repeated


def _composed(
    changes: Sequence[Callable[[Message], Message]],
) -> Callable[[Message], Message] | None:
    if not changes:
        return None

    def change(message: Message) -> Message:
        for each in changes:
            message = each(message)
        return message

    return change
