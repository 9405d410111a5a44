"""What readers leave out or change, counted, and the reasons that several of them give."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Notes:
    """What was left out or changed while reading, counted by reason, and where it began.

    Messages of a source are either kept or counted in `left_out`.
    """

    left_out: Counter[str] = field(default_factory=Counter)
    """Messages, or lines that belong to none."""
    files: Counter[str] = field(default_factory=Counter)
    """Whole files."""
    changed: Counter[str] = field(default_factory=Counter)
    """Messages that were kept, with what was done to them."""
    formats: Counter[str] = field(default_factory=Counter)
    """Files by the name of their reader."""
    first: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, where: str, messages: int = 1) -> None:
        """Count messages that are not kept."""
        self.left_out[reason] += messages
        self.first.setdefault(reason, where)

    def leave_out_file(self, reason: str, where: str) -> None:
        """Count a file in which nothing is read."""
        self.files[reason] += 1
        self.first.setdefault(reason, where)

    def change(self, what: str, where: str) -> None:
        """Count a message that is kept, but not as it was."""
        self.changed[what] += 1
        self.first.setdefault(what, where)

    def add(self, later: "Notes") -> None:
        """Add what was told of what lies after it."""
        for name in ("left_out", "files", "changed", "formats"):
            getattr(self, name).update(getattr(later, name))
        for reason, where in later.first.items():
            self.first.setdefault(reason, where)

    def lines(self) -> list[str]:
        """Return one sentence for each reason."""
        kinds = (
            ("message", "left out", self.left_out),
            ("file", "left out", self.files),
            ("message", "changed", self.changed),
        )
        return [
            f"{number:,} {what}{'' if number == 1 else 's'} {done}: {reason} "
            f"(first: {self.first[reason]})"
            for what, done, counts in kinds
            for reason, number in counts.most_common()
        ]


class NoteReason:
    """Why messages are left out or changed, where several formats have the same reason."""

    SYSTEM_LINE = "a system line"
    DELETED = "deleted by its author"
    FORWARDED = "forwarded, so written by somebody else"
    NO_TEXT, NO_AUTHOR = "without text", "without an author"
    FILE_ALONE = "a photo, file or other media without text"
    VOICE_ALONE = "a photo, voice message or other media without text"
    CAPTION_KEPT = "the text kept of a message with a photo, file or other media"
    PARTS_TAKEN_OUT = "parts that are not text taken out"
    NOT_PREFERRED = "an answer that was not preferred"
    OTHER_BRANCH = "on a branch that was not kept"
