"""Clocks: `23:59`, `11:59 PM`, `3.40 sore`, `下午3:40`, `8:22 in the evening`."""

import re
from collections import Counter
from datetime import timedelta

from elman.data.readers.whatsapp.locales import Spans, day_periods, fold

_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"\d+")
_MINUTE = 1 / 60
"""Hours: where a span ends, another one begins."""
_ENGLISH = {"am": False, "pm": True}
_AFTER_DAYS = ("日", "일")
"""What ends a date, and may stand before a word without a space."""


class Clock:
    """Reads the clocks of one form of header, whose words are all of one language.

    A word beside an hour of 1 to 12 names a half or a part of the day: of the two hours that may be
    meant, it is the one that lies nearer to what the word covers, in the languages that know most of
    the file's words. A word that stands beside 13 or more as well says nothing ("klo", "à").
    """  # noqa: E501

    def __init__(self) -> None:
        self._hours: dict[tuple[str, str], set[int]] = {}
        self._languages: list[str] | None = None

    def learn(self, clocks: set[str]) -> None:
        """Take in many clocks before any of them is read."""
        for clock in clocks:
            if _LETTER.search(clock):
                hour = int(_NUMBER.findall(clock)[0])
                self._hours.setdefault(_sides(clock), set()).add(hour)
        self._languages = None

    def read(self, clock: str) -> timedelta | None:
        """Since midnight; None where there is no such time."""
        if not is_possible(clock):
            return None
        hour, minute, second = [*map(int, _NUMBER.findall(clock)), 0][:3]
        if hour <= 12 and (word := self._word(clock, hour)):
            hour = hour % 12 + 12 * self._is_late(word, hour % 12 + minute / 60)
        return timedelta(hours=hour % 24, minutes=minute, seconds=second)

    def has_unknown(self) -> bool:
        """Say whether any of the clocks learnt is unknown."""
        return any(
            max(hours) <= 12 and fold(sides[1]) and not _day_period(sides)
            for sides, hours in self._hours.items()
        )

    def is_unknown(self, clock: str) -> bool:
        """Say whether after an hour of 1 to 12 stands a word that no language has."""
        hour = int(_NUMBER.findall(clock)[0])
        sides = _sides(clock)
        if hour > 12 or not fold(sides[1]) or max(self._hours.get(sides, {hour})) > 12:
            return False
        return not self._word(clock, hour)

    def _word(self, clock: str, hour: int) -> str:
        """Return the word for a part of the day beside a clock, folded; "" where there is none."""
        if not _LETTER.search(clock):
            return ""
        sides = _sides(clock)
        if max(self._hours.setdefault(sides, {hour})) > 12:
            return ""
        return _day_period(sides)

    def _is_late(self, word: str, hour: float) -> bool:
        if word in _ENGLISH:
            return _ENGLISH[word]
        covered = day_periods()[word]
        spans = [covered[name] for name in self._known_languages() if name in covered]
        spans = spans or list(covered.values())
        if all(last - first > 1 and last <= 12 for each in spans for first, last in each):
            return False  # a long part of the morning, such as Filipino "umaga", and no midnight
        early, late = ([_distance(time, each) for each in spans] for time in (hour, hour + 12))
        return (-late.count(0), min(late)) < (-early.count(0), min(early))

    def _known_languages(self) -> list[str]:
        """Those that have most of the words that the file's clocks have."""
        if self._languages is None:
            sides = [each for each, hours in self._hours.items() if max(hours) <= 12]
            words = {word for each in sides if (word := _day_period(each))}
            known = Counter(name for word in words for name in day_periods().get(word, ()))
            most = max(known.values(), default=0)
            self._languages = sorted(name for name, count in known.items() if count == most)
        return self._languages


def is_possible(clock: str) -> bool:
    """Say whether a day has such a time."""
    hour, minute, second = [*map(int, _NUMBER.findall(clock)), 0][:3]
    return hour <= 24 and minute < 60 and second < 60


def _sides(clock: str) -> tuple[str, str]:
    """Return the text before the hour, and that after the minutes or seconds."""
    numbers = list(_NUMBER.finditer(clock))
    return clock[: numbers[0].start()], clock[numbers[-1].end() :]


def _day_period(sides: tuple[str, str]) -> str:
    for side in reversed(sides):
        words = [word for part in side.split() if (word := fold(part))]
        for start in range(len(words)):
            word = "".join(words[start:])
            if word in _ENGLISH or word in day_periods():
                return word
            if word[0] in _AFTER_DAYS and word[1:] in day_periods():
                return word[1:]
    return ""


def _distance(time: float, spans: Spans) -> float:
    """Hours from a time to the nearest of some spans, around midnight too; 0 within one."""
    nearest = 24.0
    for first, last in spans:
        if first <= time < last or time == first or first <= time + 24 < last:
            return 0.0
        nearest = min(nearest, (first - time) % 24, (time - last) % 24 + _MINUTE)
    return nearest
