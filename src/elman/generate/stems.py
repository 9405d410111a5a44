"""Words without their endings, by which texts are likened: "dogs" is "dog", "bought" is "buy"."""

import re
from functools import lru_cache
from zlib import crc32

from elman.generate.penalties import words_of

STEM_CHARS = 6
"""Characters at the beginning of a word by which it is known, without its ending."""

MIN_INFLECTED_CHARS = 3
"""Of a word; a shorter one has no ending."""

MAX_WORD_CHARS = 40
"""Of a word; what follows is not looked at, nor kept."""

KEPT_STEMS = 1 << 13
"""Words whose stem is not sought again."""

UNINFLECTED = {"theme", "evening", "this", "does", "news", "always", "perhaps", "indeed"}
"""Words that only look as if they had an ending."""

_IRREGULAR = """
    begin:began,begun bite:bit,bitten blow:blew,blown break:broke,broken bring:brought build:built
    buy:bought catch:caught choose:chose,chosen come:came dream:dreamt drink:drank,drunk
    drive:drove,driven eat:ate,eaten fall:fell,fallen feel:felt fight:fought find:found
    fly:flew,flown forget:forgot,forgotten freeze:froze,frozen get:got,gotten give:gave,given
    go:went,gone grow:grew,grown hear:heard hide:hid,hidden hold:held keep:kept know:knew,known
    lead:led learn:learnt leave:left lend:lent lose:lost make:made mean:meant meet:met pay:paid
    ride:rode,ridden ring:rang,rung run:ran say:said see:saw,seen sell:sold send:sent
    shake:shook,shaken shoot:shot sing:sang,sung sit:sat sleep:slept speak:spoke,spoken spend:spent
    stand:stood steal:stole,stolen swim:swam,swum take:took,taken teach:taught tear:tore,torn
    tell:told think:thought throw:threw,thrown understand:understood wake:woke,woken wear:wore,worn
    win:won write:wrote,written child:children foot:feet man:men mouse:mice tooth:teeth wife:wives
    knife:knives life:lives woman:women person:people
"""
_REGULAR = {
    form: word
    for each in _IRREGULAR.split()
    for word, forms in [each.split(":")]
    for form in forms.split(",")
}

_PLURAL = re.compile(r"(?<=[^siu])s$")
_OF_Y = re.compile(r"(?<=..)ied?$")
_ENDING = re.compile(r"(?<=...)(?:ing|ed|e)$")
_DOUBLED = re.compile(r"([bdfglmnprst])\1$")


def stems_of(text: str) -> list[int]:
    """Return the words of a text without their endings, each as a number of 32 bits."""
    return [_stem(word[:MAX_WORD_CHARS]) for word in words_of(text)]


@lru_cache(KEPT_STEMS)
def _stem(word: str) -> int:
    """Return the hash of the beginning of a word, which it has in common with its other forms."""
    word = word.replace("\u2019", "'").removesuffix("'s").replace("'", "")
    word = _REGULAR.get(word, word)
    if len(word) > MIN_INFLECTED_CHARS and word not in UNINFLECTED:
        word = _PLURAL.sub("", word)
        word = _ENDING.sub("", _OF_Y.sub("y", word))
        word = _DOUBLED.sub(r"\1", word)
    return crc32(word[:STEM_CHARS].encode())
