"""How somebody chose to see the conversations of a source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from elman.data.conversation import Message, Others
from elman.data.people import People
from elman.data.split import Split
from elman.errors import ElmanError

Change = Callable[[Message], Message]

VIEW = (
    "others", "gap", "split", "drop", "redact", "rename", "max_text_bytes", "canaries",
    "canary_seed", "forgotten",
)  # fmt: skip
"""Of what a configuration says of its data, how the conversations are seen."""

OLD_VIEW_NAMES = {"most_bytes": "max_text_bytes"}
"""Names that configurations had before, and the new ones."""


@dataclass(frozen=True)
class View:
    """What is seen, and how. Nothing here depends on what the conversations say.

    Args:
        bot: whose part is learned; conversations without it are left out. None: all are peers.
        others: how the bot sees the other people; None: by name where there are several.
        gap: seconds of silence after which a chat begins anew; None: chosen from the data.
        drop: people whose messages are left out.
        redact: put placeholders in the place of what is private.
        rename: give people pseudonyms; `bot` may then be either name.
        split: what decides what is held out. Of the built-in conversations, "auto" is "id", so that
            figures that were reported for them stay comparable.
        max_text_bytes: of text to learn from, of more the newest (`Survey.most`); None: all.
        canaries: how many are planted in what is learned (`canaries.py`), by `canary_seed`.
        forgotten: digests of whom and what is learned no more (`forgotten.py`).
    """

    bot: str | None = None
    others: Others | None = None
    gap: float | None = None
    drop: Sequence[str] = ()
    redact: bool = False
    rename: bool = False
    split: Split = "auto"
    max_text_bytes: int | None = None
    canaries: int = 0
    canary_seed: int = 0
    forgotten: Sequence[str] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Make one of options, which may have their old names."""
        return cls(**{OLD_VIEW_NAMES.get(name, name): value for name, value in options.items()})

    @property
    def names_people(self) -> bool:
        """Whether everybody's name must be known before anything is seen."""
        return self.rename or bool(self.drop) or self.bot is not None

    @property
    def hides_names(self) -> bool:
        return self.redact or self.rename

    def changes(self, people: People) -> tuple[list[Change], dict[str, str]]:
        """Return what is done to each message, and everybody's pseudonym by their real name."""
        found: list[Change] = []
        pseudonyms: dict[str, str] = {}
        if self.rename:
            from elman.data.rename import Pseudonyms

            names = Pseudonyms(people.messages)
            found.append(names.message)
            pseudonyms = names.names
        if self.redact:
            from elman.data.redact import Redactor

            found.append(Redactor().message)
        return found, pseudonyms

    def match(self, people: People, pseudonyms: Mapping[str, str], lenient: bool = False) -> "View":
        """Name people as the source does in `drop`, and in `bot` as its conversations are seen.

        Args:
            lenient: forget whom of `drop` nobody is.

        Raises:
            ElmanError: where nobody has one of the names, or the bot is left out.
        """
        drop = tuple(
            people.find(name, "--drop") for name in self.drop if not lenient or people.has(name)
        )
        bot = self.bot
        if bot is not None and bot not in pseudonyms.values():
            bot = people.find(bot, "--bot")
            if bot in drop:
                raise ElmanError(f"--bot {bot!r}: it learns from whom --drop leaves out")
            bot = pseudonyms.get(bot, bot)
        if bot is not None and self.redact:
            from elman.data.redact import Redactor

            bot = Redactor().name(bot)
        return replace(self, bot=bot, drop=drop)


def composed(changes: Sequence[Change]) -> Change | None:
    """Join changes into one that makes all of them in turn; None where there are none."""
    if not changes:
        return None

    def change(message: Message) -> Message:
        for each in changes:
            message = each(message)
        return message

    return change
