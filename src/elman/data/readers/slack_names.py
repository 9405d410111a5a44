"""The names of people and channels in a Slack workspace."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.json_text import items
from elman.data.readers.records import expect, kept
from elman.data.readers.slack_text import Plain


@dataclass
class Workspace:
    """Names by their ids."""

    users: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)

    @property
    def plain(self) -> Plain:
        """What turns markup into text with these names."""
        return Plain(self.users, self.channels)

    def read_users(self, document: Document, notes: Notes) -> None:
        """Learn the names in a `users.json`."""
        users = dict(_by_id(document, "each user", notes))
        names = {key: name_in(user.get("profile"), user) or key for key, user in users.items()}
        namesakes = Counter(names.values())
        for key, name in names.items():
            # Handles are unique, but names are not, and two people must not become one.
            handle = first_name(users[key].get("name"), key)
            self.users[key] = name if namesakes[name] == 1 else f"{name} ({handle})"

    def read_channels(self, document: Document, notes: Notes) -> None:
        """Learn the names in a `channels.json`, or another list of what is like channels."""
        for key, channel in _by_id(document, "each channel", notes):
            members = channel.get("members")
            members = members if isinstance(members, list) else []
            people = [each for each in members if isinstance(each, str)]
            # People who write to each other directly have no channel with a name.
            together = ", ".join(self.users.get(each, each) for each in people)
            self.channels[key] = first_name(channel.get("name"), together, key)


def _by_id(document: Document, what: str, notes: Notes) -> Iterator[tuple[str, dict[str, Any]]]:
    def read(item: Any, where: str, _: Notes) -> tuple[str, dict[str, Any]]:
        item = expect(item, dict, where, what)
        return expect(item.get("id"), str, where, "'id'"), item

    return kept(((where, item) for where, _, item in items(document, "item")), read, notes)


def first_name(*names: Any) -> str:
    """Return the first that is a name at all."""
    return next((name for name in names if isinstance(name, str) and name.strip()), "")


def name_in(*profiles: Any) -> str:
    """Return what people call somebody."""
    return first_name(
        *(
            profile.get(key)
            for key in ("display_name", "real_name", "name")
            for profile in profiles
            if isinstance(profile, dict)
        )
    )
