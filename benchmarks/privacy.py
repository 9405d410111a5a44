"""How much private data is found, and how often ordinary talk is taken for it.

    python benchmarks/privacy.py                 # about half a minute
    python benchmarks/privacy.py --examples      # with finds in the built-in data, to judge by eye

Found is what Faker (https://faker.readthedocs.io) makes in several languages, put into sentences,
and the samples of detect-secrets' own tests. None of it is made from Elman's patterns. A secret
counts as found where not a letter of it is left, and as named where its placeholder is of the
right kind. The sentences around passwords, which call them that, are ours. False alarms are counted
on the built-in conversations, or on a file of yours.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

from faker import Faker

from elman.data.readers import read
from elman.data.redact import KINDS, Redactor
from elman.data.source import BUILT_IN, documents

LOCALES = (
    "en_US", "en_GB", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "ja_JP", "hi_IN",
    "zh_CN", "ru_RU", "pl_PL", "nl_NL", "ko_KR", "tr_TR",
)  # fmt: skip

SENTENCES = (
    "{}",
    "it's {}",
    "here you go: {}",
    "sure, {} is mine",
    "take this one ({}) please",
    "ok so {}, got it?",
    "use {}.",
    "hey Tom!\n{}\nsee you at 10:30",
    "das ist {} glaub ich",
    "c'est {} non ?",
    "これです {} よろしく",
    "это {} вот",
)
"""What people might write around it; {} stands for the secret."""

PASSWORD_SENTENCES = (
    "password: {}",
    "the wifi password is {}",
    "my password is: {}",
    "user mira, pwd = {}",
    'password = "{}"',
    "Passwort: {}",
    "la contraseña es {}",
    "mot de passe : {}",
    "senha: {}",
    "пароль: {}",
)

HEX = "abcd1234~" * 8
IBM = "ukYEEX38RiGgq1BPf2m~-nIeTM_lEGizKKn49RRoC_6fn"
AZURE = "UtBlV8z~+qnlcNQSnIYVTkLWntUO1F8j8rQ=="
CLAIMS = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwi~aWF0IjoxNTE2MjM5MDIyfQ"
SIGNATURE = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
KEY = "c3VwZXIgZHVwZXIgc2VjcmV0IHBhc3N3b3JkLCBzdXBlciBkdXBlciBzZWNy\nZXQgcGFzc3dvcmQhMTIzNCMkJQo="
PYPI = "JDU3OTM1MjliLWIyYTYtNDEwOC05NzRkLTM0MjNiNmEwNWIzYgACF1sxLFsibWluaW1hbC1wcm9qZWN0Il1dAAIs"
KEYWORDS = {
    "m{{h}o)p${e]nob(ody[finds>-_$#thisone}}": (
        "apikey = ~", "db_pass: ~,", "passwd: ~`", "private_key: ~\"", "secret: ~'", 'secrete "~";',
        'if (apikey == "~") {', 'if (api_key != "~") {', 'if (aws_secret_access_key === "~") {',
        'if (db_pass !== "~") {', 'if ("~" == password) {', 'if ("~" == my_super_password) {',
        'if ("~" != passwd) {', 'if ("~" === private_key) {', 'if ("~" !== secret) {',
        'apikey := "~"', "api_key := '~'", "aws_secret_access_key := `~`", "db_pass := ~",
        "db_pass_secure := ~", "passwd := ~,", "private_key := ~'", "password := ~`",
        "api_key = '~'", "aws_secret_access_key = `~`", 'secrete = "~"', 'password "~";',
        'apikey = "~";', 'if (secret == "~")', 'password = @"~";', 'my_password_secure = @"~";',
        'secrete[] = "~";', 'char secrete[25] = "~";', 'std::string secret("~");',
        'secrete.assign("~",17);', 'apikey: "~"', 'apikey_myservice: "~"', "api_key: `~`",
        "aws_secret_access_key: '~'", 'password => "~"',
    ),
    "value with quotes and spaces": (
        'password = "~"', 'password_super_secure = "~"', 'my_password_super_secure = "~"',
        "api_key: '~'", "aws_secret_access_key: ~",
    ),
    "A,.:-¨@*¿?!": ("secrete = ~", "secrete := ~", 'secrete = "~"', "db_pass: '~'"),
}  # fmt: skip

SAMPLES: tuple[tuple[str, str, str], ...] = (
    ("jfrog ", "AP5~xxxxxxxxxx", ""),
    ("", "AKC~xxxxxxxxxx", ""),
    ("artif-key:", "AP6~xxxxxxxxxx", ""),
    ("X-JFrog-Art-Api: ", "AKC~xxxxxxxxxx", ""),
    ("artifactoryx:_password=", "AKC~xxxxxxxxxx", ""),
    ('"', "AKC~xxxxxxxxxx", '"'),
    ("", "AKIA~ZZZZZZZZZZZZZZZZ", ""),
    ("aws_secret_access_key = '", "wJalrXUtnFEMI/K7M~DENG/bPxRfiCYEXAMPLEKEY", "'"),
    ("AccountKey=", f"lJzRc1YdHaAA2KCNJJ1tkYwF/+mKK6Ygw0NG~e170Xu592euJv2wY{AZURE}", ""),
    ('AccountKey="', f"lJzRc1YdHaAA2KCNJJ1tkYwF/+mKK6Ygw0NG~e170Xu592euJv2wY{AZURE}", '"'),
    ("https://username:", "password", "@yelp.com"),
    ("https://testy_-test:", HEX, "@testy_-test.cloudant.com"),
    ("https://testy_-test:", "abcdefghij~abcdefghijabcd", "@testy_-test.cloudant.com"),
    ("cloudant_password='", HEX, "'"),
    ('clou_pw = "', HEX, '"'),
    ('cloudant_key = "', "abcdefghij~abcdefghijabcd", '"'),
    ("", "MTk4NjIyNDgzNDcxOTI1MjQ4~.Cl2FMQ~.ZnCjm1XVW7vRze4b7Cq4se7kKWs", ""),
    ("", "Nzk5MjgxNDk0NDc2NDU1OTg3~.YABS5g~.2lmzECVlZv3vv6miVnUaKPQi2wI", ""),
    ("", "MZ1yGvKTjE0rY0cV8i47CjAa~.uRHQPq~.Xb1Mk2nEhe-4iUcrGOuegj57zMC", ""),
    ("", "ghp~_wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx", ""),
    ("", "glpat~-hellOworld380_testin", ""),
    ("", "gldt~-HwllOuhfw-wu0rlD_yep", ""),
    ("", "glsoat~-PREfix_helloworld380_testin_pretty_long_token_long", ""),
    ("'", "2b00042f7481c7b0~56c4b410d28f33cf", "'"),
    ("", "2b00042f7481c7b0~56c4b410d28f33cf", ""),
    ('"', "c3VwZXIgbG9uZyBzdHJpbmcg~c2hvdWxkIGNhdXNlIGVub3VnaCBlbnRyb3B5", '"'),
    ("", "I6FwzQZFL9l-44nviI1F04OTmorMaVQf9GS4Oe07qxL_~vNkW6CRas4Lo42vqJMT0M6riJfma_f-pT", ""),
    ("ibm-cloud_api_key: ", IBM, ""),
    ('"iam_api_key" : "', IBM, '"'),
    ("ibm-cloud-pwd = ", IBM, ""),
    ("apikey:", IBM, ""),
    ('"secret_access_key": "', "1234567890abcdef~" * 3, '"'),
    ("secret_access_key=", "1234567890abcdef~" * 3, ""),
    ('ibm_cos_secret_key = "', "1234567890abcdef~" * 3, '"'),
    ("", f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9~.{CLAIMS}~.{SIGNATURE}", ""),
    ("", f"eyJ0eXAiOiJKV1QiLA0KImFsZyI6IkhTMjU2In0~.{CLAIMS}", ""),
    (
        "",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9~.eyJuYW1lIjoiSm9lIiwKInN0YXR1cyI6Im~VtcGxveWVlIgp9",
        "",
    ),
    ("", "343ea45721923ed956e2b38c31db76aa~-us30", ""),
    ("", "a2937653ed38c31a43ea46e2b19257db~-us2", ""),
    ("//registry.npmjs.org/:_authToken=", "743b294a-cd03-11ec~-9d64-0242ac120002", ""),
    ("//registry.npmjs.org/:_authToken=", "npm~_xxxxxxxxxxx", ""),
    ("", "sk-Xi8tcNiHV9awbCcvilTe~T3BlbkFJ~3UDnpdEwNNm6wVBpYM0o", ""),
    ("", "sk-proj-Xi8tdMjHV6pmbBbwilTe~T3BlbkFJ~3UDnpdEwNNm6wVBpYM0o", ""),
    ("-----BEGIN RSA PRIV~ATE KEY-----\n", KEY, "\n-----END RSA PRIV~ATE KEY-----"),
    ("-----BEGIN PRIV~ATE KEY-----\n", KEY, ""),
    ("PuTTY-User-Key~-File-2\n", "secret key", ""),
    ("", f"pypi~-AgEIcHlwaS5vcmcC{PYPI}", ""),
    ("", f"pypi~-AgENdGVzdC5weXBpLm9yZwIk{PYPI}", ""),
    ("", "SG~.ngeVfQFYQlKU0ufo8x5d1A~.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr", ""),
    *(("", f"xox{kind}~-523423-234243-234233-e039d02840a0b9379c", "") for kind in "posr"),
    ("", "xoxa~-2-511111111-31111111111-3111111111111-e039d02840a0b9379c", ""),
    ("", "xoxb~-34532454-e039d02840a0b9379c", ""),
    ("", "https://hooks.slack~.com/services/Txxxxxxxx/Bxxxxxxxx/xxxxxxxxxxxxxxxxxxxxxxxx", ""),
    ('--softlayer-api-key "', HEX, '"'),
    ("--softlayer-api-key ", HEX, ""),
    ("http://api.softlayer.com/soap/v3/", HEX, ""),
    ("SLAPIKEY : ", HEX, ""),
    ("softlayer_api_key:=", HEX, ""),
    ("square_oauth = ", "sq0csp~-ABCDEFGHIJK_LMNOPQRSTUVWXYZ-0123456789\\abcd", ""),
    ("", "sk~_live_ReTllpYQYfIZu2Jnf2lAPFjD", ""),
    ("", "rk~_live_5TcWfjKmJgpql9hjpRnwRXbT", ""),
    ("bot", "110201543:~AAHdqTcvCH1vGWJxfSe1ofSAs0K5PALDsaw", ""),
    ("", "7213808860:~AAH1bjqpKKW3maRSPAxzIU-0v6xNuq2-NjM", ""),
    ("", "SK~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ""),
    ("", "AC~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", ""),
    *(
        (before, secret, after)
        for secret, places in KEYWORDS.items()
        for before, _, after in (place.partition("~") for place in places)
    ),
)
"""What stands before a secret, the secret, and what stands after it.

They have the shapes that the tests of detect-secrets call secrets, at least one for each detector
(https://github.com/Yelp/detect-secrets, folder tests/plugins, Apache-2.0). None opens anything;
still sites that host code refuse such text, so a `~`, which is left out, breaks it.
"""


@dataclass(frozen=True)
class Planted:
    """A secret of a kind in a text, at `text[start:end]`."""

    kind: str
    text: str
    start: int
    end: int
    locale: str = ""


def put(kind: str, secret: str, sentence: str, locale: str = "") -> Planted:
    before, _, after = sentence.partition("{}")
    end = len(before) + len(secret)
    return Planted(kind, before + secret + after, len(before), end, locale)


def makers(fake: Faker, draw: random.Random) -> dict[str, Callable[[], str]]:
    def private_url() -> str:
        site = fake.url()
        name = draw.choice(("token", "key", "secret", "password", "sig", "access_token", "api_key"))
        value = draw.choice((fake.uuid4, fake.sha1, fake.sha256, fake.md5))()
        return draw.choice(
            (
                f"{site}?{name}={value}",
                f"{site}{fake.uri_path()}?page=2&{name}={value}",
                f"{site}reset/{value}",
                site.replace("://", f"://{fake.user_name()}:{fake.password(special_chars=False)}@"),
            )
        )

    def card() -> str:
        number: str = fake.credit_card_number()
        groups = [number[i : i + 4] for i in range(0, len(number), 4)]
        return draw.choice((number, " ".join(groups), "-".join(groups)))

    def iban() -> str:
        number: str = fake.iban()
        groups = [number[i : i + 4] for i in range(0, len(number), 4)]
        return draw.choice((number, " ".join(groups)))

    return {
        "email": lambda: draw.choice((fake.email, fake.free_email, fake.company_email))(),
        "phone": fake.phone_number,
        "card": card,
        "iban": iban,
        "ip": lambda: draw.choice((fake.ipv4, fake.ipv6))(),
        "url": private_url,
    }


def planted(count: int, seed: int = 0) -> Iterator[Planted]:
    """`count` secrets of each kind and locale, always the same for the same seed."""
    draw = random.Random(seed)
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        for kind, make in makers(fake, draw).items():
            for _ in range(count):
                yield put(kind, make(), draw.choice(SENTENCES), locale)
        for _ in range(count):
            yield put("secret", fake.password(), draw.choice(PASSWORD_SENTENCES), locale)


def samples() -> Iterator[Planted]:
    """Those of detect-secrets, alone and with words before, after and around them."""
    for sample in SAMPLES:
        before, secret, after = (part.replace("~", "") for part in sample)
        for start, end in (("", ""), ("use ", " please"), ("hey Tom!\n", "\nsee you at 10:30")):
            yield put("secret", secret, f"{start}{before}{{}}{after}{end}")


def is_found(redactor: Redactor, secret: Planted) -> tuple[bool, bool]:
    """Whether nothing is left of it, and whether it is called what it is."""
    spans = [
        span
        for span in redactor.find(secret.text)
        if span.start < secret.end and span.end > secret.start
    ]
    hidden = {at for span in spans for at in range(span.start, span.end)}
    left = [at for at in range(secret.start, secret.end) if secret.text[at].isalnum()]
    return hidden.issuperset(left), any(span.kind == secret.kind for span in spans)


def recall(count: int) -> dict[str, Any]:
    redactor = Redactor()
    rows: dict[str, Any] = {}
    sources = [(each.kind, each) for each in planted(count)]
    sources += [("secret (detect-secrets)", each) for each in samples()]
    for name in dict.fromkeys(name for name, _ in sources):
        ours = [(each, is_found(redactor, each)) for other, each in sources if other == name]
        rows[name] = {
            "secrets": len(ours),
            "found": mean([found for _, (found, _) in ours]),
            "named": mean([found and named for _, (found, named) in ours]),
            "by locale": {
                locale: mean([found for each, (found, _) in ours if each.locale == locale])
                for locale in dict.fromkeys(each.locale for each, _ in ours)
            },
            "missed": [each.text for each, (found, _) in ours if not found],
        }
    return rows


def false_alarms(path: str, examples: int) -> dict[str, Any]:
    redactor = Redactor()
    texts = [message.text for each in read(documents(path)) for message in each.messages]
    redactor.count("warm up: 0170 1234567, password: hunter2, " + "x1" * 20)
    begin = perf_counter()
    counts: Counter[str] = Counter()
    for text in texts:
        redactor.count(text, counts)
    seconds = perf_counter() - begin
    shown: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for text in texts if examples else ():
        for kind, start, end in redactor.find(text):
            shown[kind].append(
                f"{text[max(start - 30, 0) : start]}>>{text[start:end]}<<{text[end : end + 30]}"
            )
    for found in shown.values():
        random.Random(0).shuffle(found)
    size = sum(len(text.encode()) for text in texts)
    return {
        "messages": len(texts),
        "finds": dict(counts),
        "per 1000 messages": {kind: 1000 * counts[kind] / len(texts) for kind in KINDS},
        "megabytes per second": size / seconds / 1e6,
        "examples": {kind: found[:examples] for kind, found in shown.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="of each kind and locale")
    parser.add_argument("--data", default=BUILT_IN, help="where to look for false alarms")
    parser.add_argument("--examples", nargs="?", type=int, const=20, default=0)
    parser.add_argument("--missed", nargs="?", type=int, const=20, default=0)
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()

    rows = recall(options.count)
    print(f"{'kind':<25}{'secrets':>8}{'found':>9}{'named':>9}")
    for name, row in rows.items():
        print(f"{name:<25}{row['secrets']:>8,}{row['found']:>9.2%}{row['named']:>9.2%}")
        for locale, found in row["by locale"].items():
            if found < 0.99:
                print(f"    {locale:<21}{found:>17.2%}")
        for text in row["missed"][: options.missed]:
            print(f"    missed: {text!r}")
    alarms = false_alarms(options.data, options.examples)
    print(f"\nfinds in {alarms['messages']:,} messages of {options.data}, true or not")
    for kind, rate in alarms["per 1000 messages"].items():
        print(f"{kind:<25}{alarms['finds'].get(kind, 0):>8,}{rate:>9.3f} per 1,000 messages")
        for text in alarms["examples"][kind]:
            print(f"    {text!r}")
    print(f"{alarms['megabytes per second']:.1f} MB/s")
    if options.json:
        options.json.write_text(json.dumps({"recall": rows, "finds": alarms}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
