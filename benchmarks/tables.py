"""Puts what was measured into the documents, from benchmarks/results/*.json.

    python benchmarks/tables.py                                  # writes every table anew
    python benchmarks/minutes.py | python benchmarks/tables.py --take minutes-avx2 \\
        --command "python benchmarks/minutes.py" --machine "two cores, AVX2, 82 to 137 GFLOP/s"

A document says `<!-- table: NAME -->` where a table belongs. --take reads the last Markdown table
of what a benchmark prints; so no figure is copied by hand. A number stays in JSON as it was
printed, with its last zeros.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLACE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.S)
NUMBER = re.compile(r"-?\d{1,3}(,\d{3})+|-?\d+(\.\d+)?")

Cell = str | Decimal | int | None


@dataclass(frozen=True)
class Table:
    """What one run measured.

    Args:
        command: prints it again.
        machine: on which it ran.
        columns: their names.
        rows: what stands below them; None: nothing was measured.
        source: where the figures were before they were kept as JSON.
        note: what a reader must know of it.
    """

    command: str
    machine: str
    columns: list[str]
    rows: list[list[Cell]]
    source: str = ""
    note: str = ""

    def markdown(self) -> str:
        """Write it as a table in Markdown, with its machine and command below."""
        rule = ["---"] * len(self.columns)
        lines: list[Sequence[Cell]] = [self.columns, rule, *self.rows]
        text = "".join(f"| {' | '.join(map(shown, row))} |\n" for row in lines)
        said = "; ".join(filter(None, (self.machine, self.note)))
        return f"\n{text}\n{said[0].upper()}{said[1:]}. From `{self.command}`.\n\n"


def shown(cell: Cell) -> str:
    """Write a cell for a reader: whole numbers in groups of three digits."""
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def load(name: str) -> Table:
    """Read a table; a decimal keeps the digits with which it was printed."""
    text = (RESULTS / f"{name}.json").read_text("utf-8")
    return Table(**json.loads(text, parse_float=Decimal))


def save(name: str, table: Table) -> None:
    """Write a table, a row on each line."""
    facts = {key: value for key, value in asdict(table).items() if value != ""}
    columns, rows = facts.pop("columns"), ",\n  ".join(map(_row, facts.pop("rows")))
    head = json.dumps(facts, indent=1, ensure_ascii=False)[:-2]
    body = f'{head},\n "columns": {_row(columns)},\n "rows": [\n  {rows}\n ]\n}}\n'
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(body, "utf-8")


def _row(cells: Iterable[Cell]) -> str:
    return f"[{', '.join(map(_written, cells))}]"


def _written(cell: Cell) -> str:
    return str(cell) if isinstance(cell, Decimal) else json.dumps(cell, ensure_ascii=False)


def take(lines: list[str], **facts: str) -> Table:
    """Make a table of the last one in Markdown among lines.

    Raises:
        SystemExit: where there is none.
    """
    tables: list[list[list[str]]] = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    found = [rows for rows in tables if len(rows) > 2]
    if not found:
        sys.exit("there is no Markdown table on standard input")
    columns, _, *rows = found[-1]
    return Table(columns=columns, rows=[list(map(_read, row)) for row in rows], **facts)


def _read(text: str) -> Cell:
    if not NUMBER.fullmatch(text):
        return text or None
    plain = text.replace(",", "")
    return Decimal(plain) if "." in plain else int(plain)


def put_tables(document: str) -> str:
    """Put each table of a document in the place that is meant for it."""
    return PLACE.sub(lambda place: place[1] + load(place[2]).markdown() + place[3], document)


def documents() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted(ROOT.glob("docs/*.md"))


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--take", metavar="NAME", help="keep the table on standard input as NAME")
    parser.add_argument("--command", default="", help="with --take: what printed it")
    parser.add_argument("--machine", default="", help="with --take: where it ran")
    parser.add_argument("--note", default="", help="with --take: what a reader must know")
    given: Any = parser.parse_args()
    if given.take:
        facts = {"command": given.command, "machine": given.machine, "note": given.note}
        save(given.take, take(sys.stdin.read().splitlines(), **facts))
    for path in documents():
        before = path.read_text("utf-8")
        if (after := put_tables(before)) != before:
            path.write_text(after, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
