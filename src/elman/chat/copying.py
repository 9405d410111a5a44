"""A store of SQLite, copied into another database with all that is in it."""

import re
from typing import NamedTuple

from elman.chat.memory import MemoryStore
from elman.chat.schema import TABLES

WITH_ROWS = [
    (name, "" if "WITHOUT ROWID" in statement else " ORDER BY rowid")
    for statement in TABLES
    for name in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
    if name != "about"
]
"""Each table, and the order in which its rows were added, where that counts."""


class CopiedRows(NamedTuple):
    """How many rows were copied, and how many the target had already."""

    copied: int
    there: int


def copy_store(source: MemoryStore, target: MemoryStore) -> CopiedRows:
    """Copy messages, states, sessions, responses, ratings and keys; all of it, or nothing.

    What the target has stays as it is there.

    Args:
        source: in SQLite.
        target: in any database.

    Raises:
        ElmanError: where the one cannot be read, or the other not written.
    """
    copied = rows = 0
    with source.reading() as old, target.writing() as new:
        for table, order in WITH_ROWS:
            asked = f"SELECT name FROM pragma_table_info('{table}')"
            columns = [name for (name,) in old.execute(asked)]
            names = ", ".join(columns)
            adding = (
                f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{c}' for c in columns)}) "
                "ON CONFLICT DO NOTHING"
            )
            for row in old.execute(f"SELECT {names} FROM {table}{order}"):
                rows += 1
                copied += new.execute(adding, dict(zip(columns, row, strict=True))).rowcount
    return CopiedRows(copied, rows - copied)
