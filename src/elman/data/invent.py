"""Conversations once more with invented names, so that a bot learns to copy words it never saw.

A bot that only ever says ten towns learns these ten, and copies no eleventh. So each word that it
repeats after somebody else, and that few conversations have, is replaced by invented letters: the
same ones throughout a conversation, other ones in the next.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from elman.data.conversation import Conversation

MAX_NAME_SHARE = 0.25
"""Share of the conversations that a word may be in and still be replaced as a name."""

MIN_NAME_LETTERS = 3

REPLACED_SHARE = 0.75
"""Share of a conversation's names that are replaced: the others are met beside invented ones."""

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Inventor:
    """Replaces names in conversations.

    Args:
        in_conversations: how many conversations have each word.
        conversations: how many there are.
        names: words from whose letters others are made, and whose lengths they have.
        bot: the author who repeats them; None: anybody.
    """

    in_conversations: Counter[str]
    conversations: int
    names: Sequence[str]
    bot: str | None

    @classmethod
    def of(cls, conversations: Iterable[Conversation], bot: str | None) -> "Inventor":
        """Learn which words are names, from conversations that fit into memory."""
        every = list(conversations)
        counts = Counter(
            word for each in every for word in {w for m in each.messages for w in _words(m.text)}
        )
        empty = cls(counts, len(every), (), bot)
        names = sorted({name for each in every for name in empty.names_in(each)})
        return cls(counts, len(every), names, bot)

    def names_in(self, conversation: Conversation) -> list[str]:
        """List the rare words that the bot repeats after another author, in order."""
        most = MAX_NAME_SHARE * self.conversations
        heard: dict[str, set[str]] = {}
        found: dict[str, None] = {}
        for author, text, _ in conversation.messages:
            said = [word for word in _words(text) if len(word) >= MIN_NAME_LETTERS]
            for word in said:
                if (
                    self.bot in (author, None)
                    and self.in_conversations[word] <= most
                    and heard.get(word, set()) - {author}
                ):
                    found[word] = None
            for word in said:
                heard.setdefault(word, set()).add(author)
        return list(found)

    def invented(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield those that have names once more, with others in their place, drawn by their ids."""
        for conversation in conversations:
            draw = np.random.default_rng(list(conversation.id.encode(errors="surrogatepass")))
            names = [n for n in self.names_in(conversation) if draw.random() < REPLACED_SHARE]
            if names:
                by_name = {name: self._invent(draw, name) for name in names}
                messages = tuple(
                    message._replace(text=_replaced(message.text, by_name))
                    for message in conversation.messages
                )
                yield Conversation(messages, conversation.id)

    def _invent(self, draw: np.random.Generator, name: str) -> str:
        """Make a word of the letters of all names; capitals stay where they are."""
        letters = "".join(self.names).lower()
        # Half of the letters as often as they occur, half each alike: the rare ones are met, too.
        alphabets = (letters, sorted(set(letters)))
        length = len(self.names[int(draw.integers(len(self.names)))])
        drawn = (alphabets[draw.integers(2)] for _ in range(length))
        made = "".join(alphabet[draw.integers(len(alphabet))] for alphabet in drawn)
        return made.upper() if name.isupper() else made.title() if name.istitle() else made


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _replaced(text: str, by_name: dict[str, str]) -> str:
    return _WORD.sub(lambda match: by_name.get(match[0], match[0]), text)
