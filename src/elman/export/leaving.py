"""What leaves with a bot, what stays, and what whoever gets it should know of it."""

from dataclasses import dataclass
from typing import Any

from elman.data.redact import Redactor
from elman.export.private import private_words
from elman.generate.bot import Bot
from elman.generate.smalltalk import SmallTalk
from elman.generate.taught import TaughtReplies, read_common_words
from elman.model.folder import REPLAY, REPLIES

CARD = "CARD.md"

NOT_FOR = (
    "It knows nothing, and says what sounds likely: nothing it says is advice, a fact or anybody's "
    "opinion. Do not let it speak to people who do not know that it is a machine, or where its "
    "words could hurt, decide or be believed."
)


@dataclass(frozen=True)
class Leaving:
    """What leaves with a bot.

    Args:
        card: what whoever gets it should know, by heading.
        small_talk: the content of its file, or None.
        taught: each message that it was taught to answer, with the answer.
        common: words by which what it was taught is known in other wordings, or None.
        people: whom it knows by name; None: it knows nobody so.
        warnings: what whoever gives it away should know.
    """

    card: dict[str, str]
    small_talk: dict[str, Any] | None
    taught: list[tuple[str, str]]
    common: list[str] | None
    people: list[str] | None
    warnings: list[str]


def leaving(bot: Bot) -> Leaving:
    """Find what leaves with a bot that is loaded.

    Raises:
        ElmanError: where a file of it is damaged.
    """
    common = read_common_words(bot.path)
    taught = TaughtReplies(bot.home, bot.knows_names, common).pairs()
    talk = SmallTalk.read(bot.path)
    people = list(bot.data.known) if bot.knows_names else None
    verbatim = []
    if taught:
        verbatim.append(f"{len(taught):,} answers that it was taught, and what they answer")
    if people:
        verbatim.append(f"the names of {len(people):,} people that it knows")
    warnings = private_words(bot.config)
    if verbatim:
        warnings.append(f"leaves word for word: {'; '.join(verbatim)}")
    find = Redactor().find
    private = sum(len(find(text)) for pair in taught for text in pair)
    if private:
        warnings.append(f"what it was taught holds {private:,} pieces of private data")
    if bot.config["model"].get("ngrams"):
        verbatim.append("counts of sequences of words, as they were said")
    stay = [what for name, what in STAYING.items() if (bot.path / name).exists()]
    if stay:
        warnings.append(f"does not leave: {'; '.join(stay)}")
    return Leaving(
        _card(bot, verbatim),
        None if talk is None else talk.content.model_dump(),
        taught,
        None if common is None else sorted(common),
        people,
        warnings,
    )


STAYING = {
    REPLIES: "replies of people, so it cannot do --reply-from data",
    REPLAY: "the sample of conversations that it learns on with",
}
"""Files that hold people's own words, and what is lost without them."""


def _card(bot: Bot, verbatim: list[str]) -> dict[str, str]:
    model, redacted = bot.config["model"], bool(bot.config.get("data", {}).get("redact"))
    card = {
        "What it is": (
            f"A small recurrent network that was trained by Elman: {model['layers']} layers of "
            f"{model['hidden_size']}, memory of {model['memory']}, "
            f"{bot.tokenizer.vocabulary_size:,} kinds of tokens. It runs in this page "
            "alone: what is said here is sent to nobody."
        ),
        "What it learned from": (
            "Conversations that its maker chose. Private data in them was "
            + (
                "replaced by placeholders, by rules that miss some."
                if redacted
                else "left as it was."
            )
        ),
        "What it must not be used for": NOT_FOR,
    }
    if verbatim:
        card["What stands in it word for word"] = f"{'; '.join(verbatim)}.".capitalize()
    if (path := bot.path / CARD).is_file():
        card.pop("What it learned from")
        card["Its whole card"] = path.read_text("utf-8")
    return card
