"""What somebody wants forgotten, found in what a bot learned from."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from elman.data.conversation import Conversation, Turn
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.forgotten import forgotten_digest, remembered
from elman.data.people import People
from elman.data.tokenizer import END, Tokenizer
from elman.errors import ElmanError
from elman.evaluate.exposure import Planted
from elman.generate.likelihood import as_message
from elman.model.replay import NO_UPDATES, Replay, TalkSource

NEAREST_NAMES = 5
"""Names that are told where nobody is called so."""

MIN_NEARNESS = 0.4
"""How alike they are at least, as `difflib` measures it."""

MIN_FORGOTTEN_CHARACTERS = 4
"""Of a line of text that is to be forgotten: a shorter one would stand everywhere."""


@dataclass(frozen=True)
class ForgetRequest:
    """What is to be forgotten: one of these.

    Args:
        person: a name.
        conversation: an id.
        lines: text; every message goes in which one of them stands.
    """

    person: str | None = None
    conversation: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """What goes.

    Args:
        digests: by which it is left out from now on.
        names: by which stored chats are found: of the person, or of the conversation.
        own: what they said themselves, each message a conversation of its own.
        before: the conversations that were learned from in which something goes, as they were.
        after: what stays of these.
        whole: how many of these go wholly.
        held_out: how many conversations that were held out change, too.
        planted: canaries that go.
        stays: canaries that do not.
        from_training: whether something goes of what training read, and not only of updates.
        later: what updates learned, and may still be learned.
    """

    digests: tuple[str, ...]
    names: tuple[str, ...]
    own: Corpus
    before: Corpus
    after: Corpus
    whole: int
    held_out: int
    planted: list[Planted]
    stays: list[Planted]
    from_training: bool
    later: Replay

    @property
    def messages(self) -> int:
        """How many messages go that were learned from."""
        return int((self.before.ids == END).sum() - (self.after.ids == END).sum())


def select(
    dataset: Dataset,
    tokenizer: Tokenizer,
    test: bool,
    wanted: ForgetRequest,
    later: Replay = NO_UPDATES,
) -> Selection:
    """Find what goes.

    Args:
        dataset: what the bot learned from.
        tokenizer: the bot's.
        test: whether a test part was held out.
        wanted: what is to be forgotten.
        later: what updates learned since.

    Raises:
        ElmanError: where there is nothing of it; the nearest names are listed.
    """
    digests, names = _digests(dataset, tokenizer, wanted, later)
    since = without(later, tokenizer, digests)
    gone = [later.later[n] for n in range(len(later.later)) if n not in since.numbers]
    before, after, own = [], [], list[Turn]()
    whole = held_out = 0
    planted: list[Planted] = []
    stays: list[Planted] = []
    for part, conversation, canary in dataset.with_canaries(test):
        left = remembered(conversation, digests)
        if canary is not None:
            turns = tuple(conversation.turns(dataset.bot, dataset.others))
            where = stays if left is not None and canary.stands_in(left) else planted
            where.append(Planted(canary, turns))
        if left is conversation:
            continue
        if part != "train":
            held_out += 1
            continue
        before.append(conversation)
        whole += left is None
        after += [] if left is None else [left]
        own += _own(dataset, conversation, digests)
    from_training = bool(before) or held_out > 0
    held_out += len(later.later_held_out) - len(since.held_out_numbers)
    if not before and not gone and not held_out:
        raise ElmanError("nothing of it is learned from: it is forgotten already")

    def encoded(some: Sequence[Conversation]) -> Corpus:
        return Corpus.encode(some, tokenizer, dataset.bot, dataset.others)

    return Selection(
        digests=tuple(sorted(digests)),
        names=names,
        own=Corpus.joined(_messages(own, tokenizer), Corpus.of(gone)),
        before=Corpus.joined(encoded(before), Corpus.of(gone)),
        after=encoded(after),
        whole=whole + len(gone),
        held_out=held_out,
        planted=planted,
        stays=stays,
        from_training=from_training,
        later=later.only(since.numbers, since.held_out_numbers),
    )


class Staying(NamedTuple):
    """The numbers of what stays of what was learned later, and of what was held out then."""

    numbers: list[int]
    held_out_numbers: list[int]


def without(later: Replay, tokenizer: Tokenizer, digests: Collection[str]) -> Staying:
    """Find what stays of what updates learned. A conversation goes whole, or stays whole.

    Args:
        later: what they learned.
        tokenizer: the bot's.
        digests: of what goes.
    """
    wanted = frozenset(digests)
    has_texts = any(each.startswith("message#") for each in wanted)

    def stay(corpus: Corpus, sources: Sequence[TalkSource]) -> list[int]:
        return [
            number
            for number, source in enumerate(sources)
            if wanted.isdisjoint(
                (
                    forgotten_digest("person", source.person),
                    forgotten_digest("conversation", source.conversation),
                    *(forgotten_digest("message", each) for each in texts(corpus, number)),
                )
            )
        ]

    def texts(corpus: Corpus, number: int) -> list[str]:
        return _texts(corpus, number, tokenizer) if has_texts else []

    return Staying(
        stay(later.later, later.sources), stay(later.later_held_out, later.held_out_sources)
    )


def _texts(corpus: Corpus, number: int, tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode(message[1:-1].tolist()) for message in corpus.messages(number)]


def _digests(
    dataset: Dataset, tokenizer: Tokenizer, wanted: ForgetRequest, later: Replay
) -> tuple[frozenset[str], tuple[str, ...]]:
    sources = (*later.sources, *later.held_out_sources)
    if wanted.person is not None:
        name = find_person(dataset, wanted.person, Counter(each.person for each in sources))
        real = {name, *(r for r, other in dataset.pseudonyms.items() if other == name)}
        return frozenset({forgotten_digest("person", name)}), tuple(sorted(real))
    if wanted.conversation is not None:
        _find_conversation(dataset, wanted.conversation, [each.conversation for each in sources])
        found = forgotten_digest("conversation", wanted.conversation)
        return frozenset({found}), (wanted.conversation,)
    lines = wanted.lines
    if short := [line for line in lines if len(line) < MIN_FORGOTTEN_CHARACTERS]:
        raise ElmanError(
            f"{short[0]!r}: a line to be forgotten has at least {MIN_FORGOTTEN_CHARACTERS} "
            "characters: every message goes in which it stands"
        )
    learned = (message.text for _, each, _ in dataset.with_canaries() for message in each.messages)
    since = (
        text
        for corpus in (later.later, later.later_held_out)
        for number in range(len(corpus))
        for text in _texts(corpus, number, tokenizer)
    )
    digests = {
        forgotten_digest("message", text)
        for text in chain(learned, since)
        if any(line in text for line in lines)
    }
    if not digests:
        raise ElmanError(f"none of the {len(lines):,} lines stands in {dataset.path}")
    return frozenset(digests), ()


def find_person(
    dataset: Dataset, name: str, others: Mapping[str, int] = MappingProxyType({})
) -> str:
    """Find a person's name as the conversations have it.

    Args:
        dataset: what the bot learned from.
        name: as it was given.
        others: people whom the bot learned from later, and how often.

    Raises:
        ElmanError: where nobody is called so, with the nearest names; or where it is the bot.
    """
    real = dataset.pseudonyms.get(name, name)
    people = dataset.survey.people + Counter({who: n for who, n in others.items() if who})
    try:
        found = People(people).find(real, "--person")
    except ElmanError:
        near = {each.casefold(): each for each in people}
        close = get_close_matches(name.casefold(), near, NEAREST_NAMES, MIN_NEARNESS)
        listed = [near[each] for each in close]
        listed = listed or [each for each, _ in people.most_common(NEAREST_NAMES)]
        raise ElmanError(
            f"--person {name!r}: nobody has that name; the nearest are {', '.join(listed)}"
        ) from None
    if found == dataset.bot:
        raise ElmanError(
            f"--person {name!r}: the bot is {found}: without what they said nothing is left of "
            "it; delete its folder"
        )
    return found


def _find_conversation(dataset: Dataset, wanted: str, later: Sequence[str]) -> None:
    ids = [*(each.id for _, each, _ in dataset.with_canaries()), *filter(None, later)]
    if wanted not in ids:
        close = get_close_matches(wanted, ids, NEAREST_NAMES, MIN_NEARNESS) or ids[:NEAREST_NAMES]
        raise ElmanError(
            f"--conversation {wanted!r}: there is none of that id; the nearest are "
            f"{', '.join(close)}"
        )


def _own(dataset: Dataset, conversation: Conversation, digests: frozenset[str]) -> Iterator[Turn]:
    """Yield what is to be forgotten itself, and not because it would be left alone."""
    every = forgotten_digest("conversation", conversation.id) in digests
    turns = conversation.turns(dataset.bot, dataset.others)
    for (author, _), turn in zip(conversation.runs(), turns, strict=True):
        if every or forgotten_digest("person", author) in digests:
            yield turn
    for message in conversation.messages:
        if forgotten_digest("message", message.text) in digests:
            yield Turn("bot" if message.author == dataset.bot else "user", message.text)


def _messages(turns: Sequence[Turn], tokenizer: Tokenizer) -> Corpus:
    texts = tokenizer.encode_batch([turn.text for turn in turns])
    both = zip(turns, texts, strict=True)
    return Corpus.of(as_message(text, turn.role) for turn, text in both)
