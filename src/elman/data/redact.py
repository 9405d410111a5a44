"""Private data in messages: finds it, counts it and puts a placeholder in its place.

What is looked for, and who decides whether it is one:

- e-mail addresses: their shape;
- phone numbers: shapes that people write, checked by `phonenumbers` (Google's libphonenumber);
- payment cards: 12 to 19 digits, the first ones a card scheme's, the last one right (Luhn);
- bank accounts: IBANs, whose remainder by 97 is checked by `stdnum`;
- IP addresses by `ipaddress`. What begins with two numbers below ten ("1.2.3.4", "2.6.28.12") is
  a version, as is what follows "v" or "version"; those of home networks ("192.168.0.1") are
  everybody's. Both stay;
- URLs that are a key to something: with a password, a parameter named token, key, signature and so
  on, or a long random part. All other URLs stay;
- keys and passwords: the detectors of `detect-secrets`, long random strings, and what follows
  "password:" or "password is" in several languages.

What none of these know stays: names, postal addresses, addresses spelled out ("ann at home dot
com"), passwords that nobody calls one.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, NamedTuple

from elman.data.conversation import Message

KINDS = ("email", "phone", "card", "iban", "ip", "url", "secret")

PLACEHOLDERS = {kind: f"[{kind}]" for kind in KINDS}
"""What stands in a text instead of private data. Never taken for private data itself."""

REGIONS = ("US", "GB", "IN", "DE", "FR", "ES", "IT", "BR", "JP", "CN", "RU", "MX", "PL", "NL", "TR")
"""Whose phone numbers are known without their country's prefix."""

_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS.values())))

# Texts without any of these, nearly all of them, are read no further.
_MARK = re.compile(r"[\d@:=\uff1a]")
_LONG = re.compile(r"[!-~]{13}")
_LONG_MIXED = re.compile(r"(?=[!-~]{13})[!-~]{0,64}?[A-Z\d]")
_DIGIT = re.compile(r"\d")

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}(?:[^\W\d_]{2,24}|xn--[\w-]{2,59})(?![\w@])"
)

# A digit after another, a little punctuation between them.
_MANY_DIGITS = re.compile(r"\d(?:[ \u00a0().\-\u2013/]{0,3}\d){6}")
_EXTENSION = r"(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
_ALONE = r"(?<![\w#$€£¥@%+*/=-])(?<!\d[.,:])(?<![\w)]\s[-+*/=])"
_PHONE = re.compile(
    rf"""
    (?:
      (?P<international>
        (?<![\w+/.])(?:\(?\+[ ]?|{_ALONE}(?:00|011[ -])[ -]?)
        [1-9](?:[ \u00a0().\-\u2013/]{{0,3}}\d){{7,14}}
      )
    | {_ALONE}
      (?P<national>
        (?:[178][ -]?)?\(\d{{2,5}}\)[ -]{{0,2}}\d(?:[ .-]?\d){{4,8}}   # (030) 1234567
      | 0\d(?:[ .\-\u2013/]{{0,1}}\d){{7,9}}                                    # 0171 2345678
      | 0\d{{1,4}}[ ][/-][ ]\d(?:[ -]?\d){{4,8}}                               # 030 / 1234567
      | (?:1[ .-])?[2-9]\d\d([ .-])\d{{3}}\3\d{{4}}                           # 555-123-4567
      | [2-9]\d\d[-.]\d{{4}}                                                  # 555-1234
      | [2-9]\d\d[- ]\d\d-\d\d                                                # 555-12-34
      | \d\d[ -](?:9[ ]?)?\d{{4}}-\d{{4}}                                    # 11 91234-5678
      | 8[ -]\d{{3}}[ -]\d{{3}}([ -])\d\d\4?\d\d                              # 8 912 345-67-89
      )
    | {_ALONE}(?<!\d\s)(?P<grouped>[1-9]\d{{1,4}}(?:[ \u00a0-]\d{{2,5}}){{1,4}})(?!\s\d)
    | {_ALONE}(?<!\d\s)(?P<plain>\d{{9,11}})(?!\s\d|(?<=0{{5}}))
    )
    {_EXTENSION}
    (?![\w%€$£]|[.,:/-]\d|[ ]?(?:[€$£%]|[-\u2013][ ]?\d))
    """,
    re.VERBOSE | re.IGNORECASE,
)
# How messengers mention a person without a name, and link to one.
_MENTIONED = re.compile(r"(?:(?<=@)|(?<=wa\.me/)|(?<=phone=)|(?<=tel:))\+?\d{8,15}(?!\w)")
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:[0-2]?\d|3[01])"
    r"|(?:[0-2]?\d|3[01])[-./ ](?:[0-2]?\d|3[01])[-./ ](?:19|20)\d\d"
    r"|(?:19|20)\d\d ?[-\u2013/] ?(?:19|20)\d\d)(?!\d)"
)
_RANGE = re.compile(r"\d[05]0-\d\d[05]0")
_THOUSANDS = re.compile(r"\d{1,3}(?:[ \u00a0.]\d{3})*[ \u00a0.]000$")
# "order no. 5550001234" is no phone number, however it looks.
_NUMBERED = re.compile(
    r"(?:\#|\b(?:order|ticket|invoice|tracking|parcel|booking|reference|ref|case|serial|account|acct|id|"
    r"isbn|bug|bestell\w*|rechnung\w*|auftrag\w*|sendung\w*|commande|facture|pedido|factura|ordine|"
    r"fattura|заказ\w*)[\s:.#-]{0,3}(?:number|no|nr|num|numero|número|numéro|nummer|is|was)?[\s:.#]{0,3})$",
    re.IGNORECASE,
)

_CARD = re.compile(
    r"(?<![\w@#&/.-])(?<!<@!)(?:\d{12,19}|\d{4}([ -])\d{4,6}\1\d{4,5}(?:\1\d{1,4}){0,2})"
    r"(?![\w/]|[.-]\d)"
)
# Of whom a card may be, by its first digits (ISO/IEC 7812): Visa; Mastercard, Maestro and Mir;
# American Express, Diners and JCB; Discover, UnionPay, RuPay; Troy.
_ISSUER = re.compile(r"4|5|2[2-7]|3[0-9]|6|1800|2131|8[12]|9792|0604")

_IBAN_BEGINS = re.compile(r"[A-Za-z][A-Za-z]\d\d")
_IBAN = re.compile(
    r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,4})?(?![^\W_])"
)

_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w+-]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[\da-f:]*[\da-f]:[\da-f:]*)[\da-f:]{6,39}(?:\.\d{1,3}){0,3}(?![\w:])",
    re.IGNORECASE,
)
_EVERYWHERE = [
    IPv4Network(network)
    for network in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
]
_VERSION = re.compile(
    r"(?:\bv|\bver\.?|version|release|kernel|firmware)\s*(?:is|to)?\s*$", re.IGNORECASE
)

_URL = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}://[^\s<>\"`]+", re.IGNORECASE)
_USER = re.compile(r"[^:]+://[^/?#:@]*:[^/?#]*@")
_PARAMETER = re.compile(
    r"[?&#;](?:[\w.\[-]*[_.\[-])?(?:(?:access|auth|api|id|refresh|reset|session|csrf)?"
    r"(?:token|key|secret)|auth|authorization|password|passwd|pass|pwd|pw|sig|signature|jwt|otp|"
    r"sessionid|phpsessid|credential)\]?=[^&#\s]{4}",
    re.IGNORECASE,
)
# What stands after these in a URL is long and random, and public.
_PUBLIC_PART = re.compile(
    r"(?:commits?|tree|blob|raw|compare|pastebin|wiki|sha256|md5)[/:=]$", re.I
)
_PART = re.compile(r"[\w+%=-]{16,}")
_UUID = re.compile(r"[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}", re.IGNORECASE)

_TOKEN = re.compile(r"(?<![\w+/=.-])(?>[A-Za-z0-9+/_-]{20,}={0,2})(?![/.]\w|[:@])")
_CHANGE = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[0-9]|(?<=[0-9])[A-Za-z]")
_HEX = re.compile(r"[\da-f]+|[\dA-F]+")

# In small letters: what any name of a secret has in it, and then those services whose keys are
# recognised whether in capitals or not.
_NAMES = (
    "pass", "pw", "key", "secret", "token", "auth", "pin", "kennwort", "contrase", "senha", "парол",
    "hasło", "wachtwoord", "şifre", "パスワード", "密码", "पासवर्ड",
)  # fmt: skip
_SERVICES = ("xox", "slack", "softlayer", "cloudant")
_PASSWORD = re.compile(
    r"""
    (?:pass(?:word|wd|phrase|code|wort)|\bpwd?\b|kennwort|contrase[ñn]a|mot\ de\ passe|senha|
      парол[ьяею]|hasło|wachtwoord|şifre|パスワード|密码|पासवर्ड|_auth(?:token)?|
      (?:api|auth|access|secret|private)[\ _-]?key|
      \bpass\b(?=\s?[:=])|(?P<pin>\bpin(?:[ -]?code)?\b))
    [\w'\u2019"\]\)\ ]{0,12}?
    (?:\s*(?P<sign>[:=\uff1a]{1,3})\s*|\s+(?:is|ist|lautet|es|est|è|é|was|będzie|है)(?:\s*:)?\s+|\s*[は是]\s*|
      \s+[-\u2013]\s+)
    (?P<value>"[^"\n]{3,64}"|'[^'\n]{3,64}'|`[^`\n]{3,64}`|\S{4,128})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LINE_END = re.compile(r"[^\S\n]*(?:\n|$)")
_SIGN = re.compile(r"[:=(\"'`]")
_KEYWORD = re.compile(r"key|pass|pwd|secret|contrase", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[^\W\d_][^\W\d_'\u2019.-]*[?!.,;:)…]*$")
# What stands where a secret would: ${PASSWORD}, <password>, %PASS%, ****, getpass(), config["x"].
_CODE = re.compile(
    r"\$\{.*\}|\$[a-z_]+;?|<.*>|%[a-z_]+%|[*._x\u2022]+|[a-z_.]+[(\[][a-z_., \"']*[)\]]*[;,]?",
    re.IGNORECASE,
)

_REST = re.compile(r"(?:[\w+/=-]|[.\\](?=\w))*")
_PRIVATE_KEY = re.compile(
    r"-{0,5}BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?(?P<armour>-----)?|PuTTY-User-Key-File-\d"
)
_LINE = re.compile(r"[^\n]{1,400}")  # the patterns of others may be slow on long lines
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")


class Span(NamedTuple):
    """Private data in a text: `text[start:end]`."""

    kind: str
    start: int
    end: int


class Redactor:
    """Finds private data; made once, used for every message."""

    def find(self, text: str) -> list[Span]:
        """All private data of a text, in order, none overlapping."""
        if not (_MARK.search(text) or _LONG.search(text) or "PRIVATE KEY" in text):
            return []
        found: list[Span] = []
        gaps = _between(text, 0, len(text), _PLACEHOLDER.finditer(text)) if "[" in text else None
        waiting = [(0, len(text))] if gaps is None else gaps
        # What is left between finds is looked at by itself once more, so that a redacted text
        # has nothing in it that would be found in another round.
        while waiting:
            start, end = waiting.pop()
            piece = text if end - start == len(text) else text[start:end]
            spans = _merged(_spans(piece))
            if spans:
                found += [Span(kind, start + a, start + b) for kind, a, b in spans]
                edges = [0, *(edge for _, a, b in spans for edge in (a, b)), len(piece)]
                waiting += [
                    (start + a, start + b)
                    for a, b in zip(edges[::2], edges[1::2], strict=True)
                    if a < b
                ]
        return sorted(found, key=lambda span: span.start)

    def redact(self, text: str) -> str:
        """The text with a placeholder such as "[email]" in the place of each find."""
        pieces, at = [], 0
        for kind, start, end in self.find(text):
            pieces += [text[at:start], PLACEHOLDERS[kind]]
            at = end
        return "".join([*pieces, text[at:]]) if pieces else text

    def name(self, author: str) -> str:
        """A person's name, where it is no number or address; those stay apart, by six digits of a
        digest.
        """
        hidden = self.redact(author)
        if hidden == author:
            return author
        digest = hashlib.sha256(author.encode(errors="replace")).hexdigest()
        return f"{hidden} {digest[:6]}"

    def message(self, message: Message) -> Message:
        """The message without what is private in it or in the name above it."""
        return message._replace(author=self.name(message.author), text=self.redact(message.text))

    def count(self, text: str, into: Counter[str] | None = None) -> Counter[str]:
        """How often each kind is in a text, added to `into` if given."""
        counts: Counter[str] = Counter() if into is None else into
        for span in self.find(text):
            counts[span.kind] += 1
        return counts


def _between(
    text: str, start: int, end: int, matches: Iterable[re.Match[str]]
) -> list[tuple[int, int]]:
    """The parts of a text outside of the matches."""
    edges = [start, *(edge for match in matches for edge in match.span()), end]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans become one, of the kind of the longest."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        length = span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            longest = length
            continue
        before = merged[-1]
        kind = span.kind if length > longest else before.kind
        longest = max(longest, length)
        merged[-1] = Span(kind, before.start, max(before.end, span.end))
    return merged


def _spans(text: str) -> Iterator[Span]:
    """All finds, which may overlap."""
    if "@" in text:
        yield from (Span("email", *match.span()) for match in _EMAIL.finditer(text))
    if "://" in text:
        yield from _urls(text)
    if _DIGIT.search(text):
        if _MANY_DIGITS.search(text):
            yield from _phones(text)
            yield from _cards(text)
        if _IBAN_BEGINS.search(text):
            yield from _ibans(text)
        yield from _addresses(text)
    lower = text.lower()
    is_named = any(name in lower for name in _NAMES)
    if is_named:
        yield from _passwords(text)
    if "PRIVATE KEY" in text or "PuTTY" in text:
        yield from _private_keys(text)
    if (_LONG.search if is_named else _LONG_MIXED.search)(text):
        yield from _keys(text, is_named or any(name in lower for name in _SERVICES))


def _phones(text: str) -> Iterator[Span]:
    for match in _MENTIONED.finditer(text):
        yield Span("phone", *match.span())
    for match in _PHONE.finditer(text):
        number = match[0]
        if _is_phone(match) and not (
            _DATE.search(number)
            or _NUMBERED.search(text, max(match.start() - 40, 0), match.start())
        ):
            yield Span("phone", *match.span())


def _is_phone(match: re.Match[str]) -> bool:
    import phonenumbers

    if number := match["international"]:
        digits = re.sub(r"\D", "", number)
        digits = digits.removeprefix("011" if number.startswith("011") else "00")
        try:
            parsed = phonenumbers.parse("+" + digits)
            is_possible = phonenumbers.is_possible_number(parsed)
        except phonenumbers.NumberParseException:
            is_possible = False
        return is_possible or number[0] == "0"  # of another kind, since it begins with a zero
    if number := match["national"]:
        return not (_RANGE.fullmatch(number))
    if number := match["plain"]:
        # Ten digits are a number in North America, assigned or not, or with a zero elsewhere; only
        # those of the seconds from 1970 to a time between 2008 and 2030 are more likely a time.
        if len(number) == 10:
            return not "1200000000" <= number < "1900000000"
        return _is_assigned(number)
    number = match["grouped"]
    digits = re.sub(r"\D", "", number)
    return 9 <= len(digits) <= 11 and not _THOUSANDS.match(number) and _is_assigned(digits)


def _is_assigned(digits: str) -> bool:
    """Whether it is a number in any of the regions."""
    import phonenumbers

    for region in REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
        except phonenumbers.NumberParseException:
            return False
    return False


def _cards(text: str) -> Iterator[Span]:
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if digits.isascii() and _ISSUER.match(digits) and luhn.is_valid(digits):
            yield Span("card", *match.span())


def _ibans(text: str) -> Iterator[Span]:
    from stdnum.iso7064 import mod_97_10

    for match in _IBAN.finditer(text):
        start, end = match.span()
        if sum(map(str.isdigit, match[0])) < 8:
            continue
        while end - start >= 15:
            number = re.sub(r"[ -]", "", text[start:end])
            if mod_97_10.is_valid(number[4:] + number[:4]):
                yield Span("iban", start, end)
                break
            # The words after it may look like more of it.
            end = max(text.rfind(" ", start, end), text.rfind("-", start, end))


def _addresses(text: str) -> Iterator[Span]:
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            address = _address(match[0])
            if not isinstance(address, IPv4Address):
                continue
            is_anybodys = match[0][:4] == "255." or any(address in each for each in _EVERYWHERE)
            is_version = max(address.packed[:2]) < 10 or _VERSION.search(
                text, max(match.start() - 20, 0), match.start()
            )
            if not (is_anybodys or is_version):
                yield Span("ip", *match.span())
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            number = match[0]
            if number.endswith(":") and not number.endswith("::"):
                number = number[:-1]
            address = _address(number)
            if not isinstance(address, IPv6Address) or address.is_loopback:
                continue
            groups = [group for group in number.split(":") if group]
            # "dead::beef" is as likely a name in a program.
            if len(groups) > 3 or (len(groups) > 1 and re.match(r"[23]\d|f[cdef]", number, re.I)):
                yield Span("ip", match.start(), match.start() + len(number))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _urls(text: str) -> Iterator[Span]:
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?)]}'*_")
        if _USER.match(url) or _PARAMETER.search(url) or _has_random_part(url):
            yield Span("url", match.start(), match.start() + len(url))


def _has_random_part(url: str) -> bool:
    begin = url.index("://") + 3
    return any(
        (_UUID.search(part[0]) or _is_random(part[0].rpartition("=")[2] or part[0], limit=4.0))
        and not _PUBLIC_PART.search(url, max(part.start() - 10, 0), part.start())
        for part in _PART.finditer(url, url.find("/", begin) if "/" in url[begin:] else len(url))
    )


def _is_random(token: str, limit: float = 4.5) -> bool:
    """Whether a word without spaces has the letters of a key rather than those of a language."""
    if not (token.isascii() and any(map(str.isdigit, token))):
        return False
    base64, hexadecimal = _detectors().entropy
    if _HEX.fullmatch(token):
        bits = hexadecimal.calculate_shannon_entropy(token)
        return len(token) >= 32 and not token.isdecimal() and bits > hexadecimal.entropy_limit
    changes = len(_CHANGE.findall(token))
    return changes >= 0.22 * len(token) and base64.calculate_shannon_entropy(token) > limit


def _passwords(text: str) -> Iterator[Span]:
    for match in _PASSWORD.finditer(text):
        start, end = match.span("value")
        value = match["value"]
        if value[0] in "\"'`" and value[-1] == value[0] and len(value) > 2:
            yield Span("secret", start + 1, end - 1)
            continue
        value = value.rstrip(".,;:?")
        is_assigned = match["sign"] is not None
        is_last = is_assigned and "/" not in value and _LINE_END.match(text, end) is not None
        if match["pin"]:
            is_secret = re.fullmatch(r"\d{4,8}", value) is not None
        else:
            is_secret = (any(map(str.isdigit, value)) or is_last) and not _CODE.fullmatch(value)
        if is_secret and len(value) >= 4:
            yield Span("secret", start, start + len(value))
    if _KEYWORD.search(text):
        for line in _LINE.finditer(text):
            if _SIGN.search(line[0]):
                yield from _assigned(line[0], line.start())


def _assigned(line: str, offset: int) -> Iterator[Span]:
    """What `detect-secrets` takes for the value of something called a key, password or secret."""
    keyword, grammars = _detectors().keyword
    for grammar in grammars:
        for found in keyword.analyze_string(line, grammar):
            start = line.find(found)
            is_quoted = line[start - 1 : start] in ("'", '"', "`")
            value = found if is_quoted else found.split(maxsplit=1)[0]
            is_plain = not is_quoted and _PLAIN_WORD.match(value)
            if len(value) >= 4 and not is_plain and not _CODE.fullmatch(value):
                yield Span("secret", offset + start, offset + start + len(value))


def _private_keys(text: str) -> Iterator[Span]:
    for match in _PRIVATE_KEY.finditer(text):
        last = _KEY_END.search(text, match.end())
        yield Span("secret", match.start(), last.end() if last else len(text))
        if not last:
            break  # a key that is cut off goes on to where the message ends


def _keys(text: str, is_named: bool) -> Iterator[Span]:
    for match in _TOKEN.finditer(text):
        if _is_random(match[0]):
            yield Span("secret", *match.span())
    detectors = _detectors()
    for line in _LINE.finditer(text):
        for pattern in detectors.patterns + (detectors.slow_patterns if is_named else ()):
            for match in pattern.finditer(line[0]):
                start, end = _secret(match)
                yield Span("secret", *_whole(text, line.start() + start, line.start() + end))
        if "eyJ" in line[0]:
            for token in detectors.jwt.analyze_string(line[0]):
                at = text.index(token, line.start())
                yield Span("secret", *_whole(text, at, at + len(token)))


def _secret(match: re.Match[str]) -> tuple[int, int]:
    """Of "key = secret", the secret, where the pattern says which part it is."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1)]
    longest = max(groups, key=lambda span: span[1] - span[0], default=match.span())
    return longest if longest[1] - longest[0] >= 12 else match.span()


def _whole(text: str, start: int, end: int) -> tuple[int, int]:
    """A key to the end of its word, without the spaces and quotes around it."""
    while start < end and text[start] in " \t\n\r\f\v\"'=:":
        start += 1
    rest = _REST.match(text, end)
    if rest and not text[end - 1].isspace():
        end = rest.end()
    while end > start and text[end - 1] in " \t\n\r\f\v\"'":
        end -= 1
    return start, end


class _Detectors(NamedTuple):
    """What `detect-secrets` brings; slow to import, and only needed where a text is suspicious."""

    patterns: tuple[re.Pattern[str], ...]
    slow_patterns: tuple[re.Pattern[str], ...]
    jwt: Any
    entropy: tuple[Any, Any]
    keyword: tuple[Any, tuple[Any, ...]]


@cache
def _detectors() -> _Detectors:
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins import high_entropy_strings, ip_public, jwt, keyword, private_key
    from detect_secrets.plugins.base import RegexBasedDetector

    ours = {ip_public.IPPublicDetector, jwt.JwtTokenDetector, private_key.PrivateKeyDetector}
    known: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    patterns: list[re.Pattern[str]] = [
        pattern
        for kind in known
        if issubclass(kind, RegexBasedDetector) and kind not in ours
        for pattern in kind().denylist
    ]
    return _Detectors(
        patterns=tuple(pattern for pattern in patterns if not pattern.flags & re.IGNORECASE),
        # All those with an optional beginning, and all have one of `_NAMES` or `_SERVICES` in them.
        slow_patterns=tuple(pattern for pattern in patterns if pattern.flags & re.IGNORECASE),
        jwt=jwt.JwtTokenDetector(),
        entropy=(
            high_entropy_strings.Base64HighEntropyString(),
            high_entropy_strings.HexHighEntropyString(),
        ),
        keyword=(
            keyword.KeywordDetector(),
            (
                keyword.CONFIG_DENYLIST_REGEX_TO_GROUP,
                keyword.GOLANG_DENYLIST_REGEX_TO_GROUP,
                keyword.COMMON_C_DENYLIST_REGEX_TO_GROUP,
                keyword.C_PLUS_PLUS_REGEX_TO_GROUP,
                keyword.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
            ),
        ),
    )
