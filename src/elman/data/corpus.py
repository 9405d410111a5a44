"""Many conversations as one array of token ids."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

import numpy as np

from elman.data.conversation import Conversation, Others
from elman.data.tokenizer import END, ROLES, SPECIALS, Tokenizer

_BATCH = 256


@dataclass(frozen=True)
class Corpus:
    """Encoded conversations: for each message its role, its text, and END.

    Two bytes a token are all the memory that it takes, however large the corpus.

    Args:
        ids: every conversation's tokens, one after another, uint16.
        starts: where each conversation begins, and the end of the last, (conversations + 1,).
    """

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def encode(
        cls,
        conversations: Iterable[Conversation],
        tokenizer: Tokenizer,
        bot: str | None = None,
        others: Others = "user",
    ) -> "Corpus":
        """Encode conversations as the bot sees them (`Conversation.turns`)."""
        parts = encode_parts((("all", each) for each in conversations), tokenizer, bot, others)
        return parts.get("all", cls(np.zeros(0, np.uint16), np.zeros(1, np.int64)))

    @classmethod
    def of(cls, conversations: Iterable[np.ndarray]) -> "Corpus":
        """Lay conversations, each given by its tokens, one after another."""
        parts = [np.zeros(0, np.uint16), *conversations]
        lengths = [len(part) for part in parts]  # that of nothing first: there the first begins
        return cls(np.concatenate(parts, dtype=np.uint16, casting="unsafe"), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the tokens of one conversation, uint16."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def messages(self, index: int) -> list[np.ndarray]:
        """Yield the messages of one conversation, each from its role to its END."""
        tokens = self[index]
        return np.split(tokens, np.flatnonzero(tokens == END)[:-1] + 1)

    @classmethod
    def joined(cls, *parts: "Corpus") -> "Corpus":
        """Lay the conversations of several corpora one after another; of none: no conversation."""
        ids = np.concatenate([np.zeros(0, np.uint16), *(part.ids for part in parts)])
        lengths = [np.zeros(1, np.int64), *(np.diff(part.starts) for part in parts)]
        return cls(ids, np.cumsum(np.concatenate(lengths)))

    @property
    def tokens(self) -> int:
        """How many tokens all conversations have."""
        return int(self.starts[-1])

    @cached_property
    def message_count(self) -> int:
        """How many messages all conversations have."""
        return sum(int((part == END).sum()) for part in self.blocks())

    def first_tokens(self, most: int) -> np.ndarray:
        """Return the first tokens of all, (at most `most`,) uint16."""
        return self.ids[:most]

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all tokens in arrays that fit into memory, each of whole conversations."""
        yield self.ids

    @cached_property
    def digest(self) -> str:
        """Names the content: equal digests hold the same tokens."""
        return content_digest(self.blocks(), [self.starts])


def content_digest(blocks: Iterable[np.ndarray], starts: Iterable[np.ndarray]) -> str:
    """Return the digest of the corpus whose tokens and starts these are, one after another."""
    content = hashlib.sha256()
    for each in chain(blocks, starts):
        content.update(np.ascontiguousarray(each).data)
    return content.hexdigest()


def encode_parts(
    conversations: Iterable[tuple[str, Conversation]],
    tokenizer: Tokenizer,
    bot: str | None = None,
    others: Others = "user",
) -> dict[str, Corpus]:
    """Encode conversations in one pass, each into the corpus that it is labelled with."""
    arrays: dict[str, tuple[array[int], array[int]]] = {}
    source = iter(conversations)
    while batch := [(part, each.turns(bot, others)) for part, each in islice(source, _BATCH)]:
        texts = iter(tokenizer.encode_batch([turn.text for _, turns in batch for turn in turns]))
        for part, turns in batch:
            ids, starts = arrays.setdefault(part, (array("H"), array("q", [0])))
            for turn in turns:
                ids.append(ROLES[turn.role])
                ids.extend(next(texts))
                ids.append(END)
            starts.append(len(ids))
    return {
        part: Corpus(np.frombuffer(ids, np.uint16), np.frombuffer(starts, np.int64))
        for part, (ids, starts) in arrays.items()
    }


def learned_roles(learn_from: str) -> tuple[int, ...]:
    """List the roles whose messages are learned: "bot" for the bot's, "all" for everybody's."""
    return (ROLES["bot"], ROLES["user"]) if learn_from == "all" else (ROLES["bot"],)


def is_scored(message: np.ndarray, learn_from: str) -> bool:
    """Return whether a message is one that the bot learns to say."""
    return int(message[0]) in learned_roles(learn_from)


def scored(tokens: np.ndarray, learn_from: str) -> np.ndarray:
    """Mark the tokens that count in the loss: text and END of messages that are learned, (T,) bool.

    Who speaks next is given and never guessed, so a role does not count; nor do instructions.

    Args:
        tokens: whole messages, (T,).
        learn_from: as for `learned_roles`.
    """
    is_role = (tokens > END) & (tokens < SPECIALS)
    begins = np.maximum.accumulate(np.where(is_role, np.arange(len(tokens)), 0))
    counted: np.ndarray = np.isin(tokens[begins], learned_roles(learn_from)) & ~is_role
    return counted
