"""What opens something: URLs, keys, passwords."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from elman.data.redact.span import Span

LONG = re.compile(r"[!-~]{13}")
"""What a text without the name of a secret has in it, if it has one."""

_LONG_MIXED = re.compile(r"(?=[!-~]{13})[!-~]{0,64}?[A-Z\d]")

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


def credentials(text: str) -> Iterator[Span]:
    """Yield all finds, which may overlap."""
    if "://" in text:
        yield from _urls(text)
    lower = text.lower()
    is_named = any(name in lower for name in _NAMES)
    if is_named:
        yield from _passwords(text)
    if "PRIVATE KEY" in text or "PuTTY" in text:
        yield from _private_keys(text)
    if (LONG.search if is_named else _LONG_MIXED.search)(text):
        yield from _keys(text, is_named or any(name in lower for name in _SERVICES))


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
    """Say whether a word has the letters of a key rather than those of a language."""
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
    """Yield what `detect-secrets` takes for the value of something called a key, password or
    secret.
    """
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
    """Return the secret of "key = secret", where the pattern says which part it is."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1)]
    longest = max(groups, key=lambda span: span[1] - span[0], default=match.span())
    return longest if longest[1] - longest[0] >= 12 else match.span()


def _whole(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a key to the end of its word, without the spaces and quotes around it."""
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
