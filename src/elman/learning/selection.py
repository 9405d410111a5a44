"""What somebody wants forgotten, found in what a bot learned from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from elman.data.conversation import Conversation, Turn
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.forgotten import forgotten_digest, remembered
from elman.data.people import People
from elman.data.tokenizer import END, Tokenizer
from elman.errors import ElmanError
from elman.evaluate.exposure import Planted
from elman.generate.rerank import as_message

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
        before: the conversations to learn from in which something goes, as they were.
        after: what stays of these.
        whole: how many of these go wholly.
        held_out: how many conversations that were held out change, too.
        planted: canaries that go.
        stays: canaries that do not.
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

    @property
    def messages(self) -> int:
        """How many messages go that were learned from."""
        return int((self.before.ids == END).sum() - (self.after.ids == END).sum())


def select(dataset: Dataset, tokenizer: Tokenizer, test: bool, wanted: ForgetRequest) -> Selection:
    """Find what goes.

    Args:
        dataset: what the bot learned from.
        tokenizer: the bot's.
        test: whether a test part was held out.
        wanted: what is to be forgotten.

    Raises:
        ElmanError: where there is nothing of it; the nearest names are listed.
    """
    digests, names = _digests(dataset, wanted)
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
    if not before and not held_out:
        raise ElmanError("nothing of it is learned from: it is forgotten already")

    def encoded(some: Sequence[Conversation]) -> Corpus:
        return Corpus.encode(some, tokenizer, dataset.bot, dataset.others)

    return Selection(
        digests=tuple(sorted(digests)),
        names=names,
        own=_messages(own, tokenizer),
        before=encoded(before),
        after=encoded(after),
        whole=whole,
        held_out=held_out,
        planted=planted,
        stays=stays,
    )


def _digests(dataset: Dataset, wanted: ForgetRequest) -> tuple[frozenset[str], tuple[str, ...]]:
    if wanted.person is not None:
        name = find_person(dataset, wanted.person)
        real = {name, *(r for r, other in dataset.pseudonyms.items() if other == name)}
        return frozenset({forgotten_digest("person", name)}), tuple(sorted(real))
    if wanted.conversation is not None:
        _find_conversation(dataset, wanted.conversation)
        found = forgotten_digest("conversation", wanted.conversation)
        return frozenset({found}), (wanted.conversation,)
    lines = wanted.lines
    if short := [line for line in lines if len(line) < MIN_FORGOTTEN_CHARACTERS]:
        raise ElmanError(
            f"{short[0]!r}: a line to be forgotten has at least {MIN_FORGOTTEN_CHARACTERS} "
            "characters: every message goes in which it stands"
        )
    digests = {
        forgotten_digest("message", message.text)
        for _, each, _ in dataset.with_canaries()
        for message in each.messages
        if any(line in message.text for line in lines)
    }
    if not digests:
        raise ElmanError(f"none of the {len(lines):,} lines stands in {dataset.path}")
    return frozenset(digests), ()


def find_person(dataset: Dataset, name: str) -> str:
    """Find a person's name as the conversations have it.

    Raises:
        ElmanError: where nobody is called so, with the nearest names; or where it is the bot.
    """
    real = dataset.pseudonyms.get(name, name)
    people = dataset.survey.people
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


def _find_conversation(dataset: Dataset, wanted: str) -> None:
    ids = [each.id for _, each, _ in dataset.with_canaries()]
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
