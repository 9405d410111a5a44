"""Where the command line keeps conversations."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from elman.chat import MemoryStore

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        help="Where conversations are kept: a file, or sqlite:///FILE.  "
        "[default: memory.db in your data folder]",
        show_default=False,
    ),
]


def open_store(place: str | None) -> "MemoryStore":
    """The store of `--db`.

    Raises:
        ElmanError: where it cannot be opened.
    """
    from platformdirs import user_data_path

    from elman.chat.memory import MemoryStore

    return MemoryStore(place if place is not None else user_data_path("elman") / "memory.db")
