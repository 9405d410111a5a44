"""What Unicode's CLDR says about days in all its languages: names of months, parts of the day.

The tables are in `cldr.json`, which `recipes/cldr.py` makes: small, where CLDR itself takes 200 MB and
a second to read. They are read only where a file has words beside its dates or hours.
"""  # noqa: E501

import json
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any

Spans = list[tuple[float, float]]
"""Hours of a day, from and before; the second is above 24 where midnight lies between."""

_HALVES: list[Spans] = [[(0, 12)], [(12, 24)]]

# Words that phones write, or once wrote, and CLDR's newest tables lack: before noon, after noon.
_OLDER_HALVES = """
a m, p m|matin, soir|vorm, nachm|vm, nm|fm, em|f m, e m|f h, e h|r n, i n|de, du|dop, odp|dop, pop
e k, p k|pr p, pop|priekšp, pēcp|öö, ös|pd, md|paradite, mbasdite|pg, ptg
sa, ch|to, tk|тң, тк|үө, үх|дп, пп|пре подне, по подне|преди обяд, след обяд|пр об, сл об
прет, попл|претпладне, попладне|таңертең, түстен кейін|таңертеңгі, түстен кейінгі
πμ, μμ|ص, م|ق ظ, ب ظ|قبل از ظهر, بعد از ظهر|قبل دوپہر, بعد دوپہر|לפנהצ, אחהצ
पूर्वाह्न, अपराह्न|म पू, म उ|পূর্বাহ্ণ, অপরাহ্ণ|পূর্বাহ্ন, অপরাহ্ন|ਪੂ ਦੁ, ਬਾ ਦੁ|ਪੂਰਵ ਦੁਪਹਿਰ, ਬਾਅਦ ਦੁਪਹਿਰ
પૂર્વ મધ્યાહ્ન, ઉત્તર મધ્યાહ્ન|முற்பகல், பிற்பகல்|முப, பிப|పూర్వాహ్నం, అపరాహ్నం|ಪೂರ್ವಾಹ್ನ, ಅಪರಾಹ್ನ
പൂർവ്വാഹ്നം, അപരാഹ്നം|പ്രഭാതം, അപരാഹ്നം|පෙ ව, ප ව|පෙරවරු, පස්වරු|ก่อนเที่ยง, หลังเที่ยง|오전, 오후
午前, 午後|上午, 下午|ጥዋት, ከሰዓት|asubuhi, mchana|sn, gn|ekuseni, ntambama
"""  # noqa: RUF001

# As above, for parts of the day, with the hours that they cover.
_OLDER_PARTS: dict[str, Spans] = {
    "凌晨": [(0, 6)],
    "清晨": [(5, 9)],
    "早上": [(5, 12)],
    "傍晚": [(17, 20)],
    "subuh": [(3, 7)],
    "dini hari": [(0, 5)],
    "tengahari": [(12, 14)],
    "tengah hari": [(12, 14)],
    "утра": [(4, 12)],
    "дня": [(12, 18)],
    "вечера": [(18, 24)],
    "ночи": [(0, 4)],
    "ранку": [(4, 12)],
    "madrugada": [(0, 6)],
    "mañana": [(5, 12)],
    "tarde": [(12, 20)],
    "noche": [(20, 26)],
    "manhã": [(6, 12)],
    "पहाटे": [(4, 6)],
    "सकाळी": [(6, 12)],
    "दुपारी": [(12, 16)],
    "सायंकाळी": [(16, 21)],
    "संध्याकाळी": [(16, 21)],
    "रात्री": [(19, 28)],
    "রাত": [(18, 28)],
    "বিকেল": [(14, 19)],
    "দুপুরে": [(12, 16)],
    "noite": [(18, 26)],
}


def fold(text: str) -> str:
    """Letters alone, alike however they are written: without case, dots, spaces and marks."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter for letter in text if unicodedata.category(letter)[0] in "LM")


@cache
def day_periods() -> dict[str, dict[str, Spans]]:
    """For every word beside an hour: what it covers in each language that has it."""
    found: dict[str, dict[str, Spans]] = _tables()["day_periods"]
    for number, pair in enumerate(_OLDER_HALVES.strip().replace("\n", "|").split("|")):
        for half, word in zip(_HALVES, pair.split(","), strict=True):
            found.setdefault(fold(word), {}).setdefault(f"older {number}", half)
    for word, hours in _OLDER_PARTS.items():
        found.setdefault(fold(word), {}).setdefault("older", hours)
    return found


@cache
def months() -> dict[str, dict[str, int]]:
    """For every month's name: its number in each language that has it."""
    found: dict[str, dict[str, int]] = _tables()["months"]
    return found


def _tables() -> dict[str, Any]:
    path = files("elman.data.readers.whatsapp").joinpath("cldr.json")
    tables: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return tables
