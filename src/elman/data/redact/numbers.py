"""Numbers that are somebody's: telephones, cards, bank accounts, computers."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from elman.data.redact.span import Span

REGIONS = ("US", "GB", "IN", "DE", "FR", "ES", "IT", "BR", "JP", "CN", "RU", "MX", "PL", "NL", "TR")
"""Whose phone numbers are known without their country's prefix."""

_DIGIT = re.compile(r"\d")
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


def numbers(text: str) -> Iterator[Span]:
    """Yield all finds, which may overlap."""
    if not _DIGIT.search(text):
        return
    if _MANY_DIGITS.search(text):
        yield from _phones(text)
        yield from _cards(text)
    if _IBAN_BEGINS.search(text):
        yield from _ibans(text)
    yield from _addresses(text)


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
    """Say whether it is a number in any of the regions."""
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
