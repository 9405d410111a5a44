"""The tables of `src/elman/data/readers/whatsapp/cldr.json`, from Unicode's CLDR as Babel ships it.

    pip install babel && python recipes/cldr.py

Data: Copyright Unicode, Inc., under the Unicode License v3 (unicode.org/license.txt). What the variants
of a language say is taken together: which of them a phone was set to, an export does not say.
"""  # noqa: E501

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from babel import Locale, localedata

from elman.data.readers.whatsapp.locales import fold

TABLES = Path(__file__).parents[1] / "src/elman/data/readers/whatsapp/cldr.json"

Spans = list[tuple[float, float]]


def named(tree: Any, skip: str = "") -> Iterator[tuple[Any, str]]:
    """The leaves of nested tables, with their last keys."""
    for key, value in tree.items():
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping) and key != skip:
            yield from named(value, skip)


def rules(locale: Locale) -> dict[str, Spans]:
    """The hours of a language's parts of the day; past 24 where midnight lies between."""
    found: dict[str, Spans] = {"am": [(0, 12)], "pm": [(12, 24)]}
    for period, spans in dict(locale.day_period_rules.get(None) or {}).items():
        for span in spans:
            first = span.get("at", span.get("from", 0)) / 3600
            last = span.get("before", span.get("at", 0)) / 3600
            found.setdefault(period, []).append((first, last + 24 * (last < first)))
    return found


def joined(spans: Spans) -> Spans:
    """Spans without those that touch or overlap."""
    found: Spans = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def main() -> None:
    periods: dict[str, dict[str, Spans]] = {}
    months: dict[str, dict[str, int]] = {}
    for name in sorted(localedata.locale_identifiers()):
        locale = Locale.parse(name)
        hours = rules(Locale.parse(locale.language))
        for period, word in named(locale.day_periods):
            if period in hours and (key := fold(word)):
                periods.setdefault(key, {}).setdefault(locale.language, []).extend(hours[period])
        for number, word in named(locale.months, skip="narrow"):
            if key := fold(str(word)):
                months.setdefault(key, {})[locale.language] = int(number)
    tables = {
        "day_periods": {
            word: {name: joined(spans) for name, spans in found.items()}
            for word, found in sorted(periods.items())
        },
        "months": dict(sorted(months.items())),
    }
    text = json.dumps(tables, ensure_ascii=False, separators=(",", ":"))
    TABLES.write_text(text.replace("},", "},\n") + "\n", "utf-8")


if __name__ == "__main__":
    main()
