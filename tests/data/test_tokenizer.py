import json
from collections.abc import Iterator
from typing import Any

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from elman.data.tokenizer import (
    END,
    MAX_VOCABULARY_SIZE,
    MIN_VOCABULARY_SIZE,
    ROLES,
    SPECIALS,
    Tokenizer,
)
from elman.errors import ElmanError

TEXTS = [
    "The kettle is on, the kettle sings, and so do we.",
    "the kitten knitted mittens; the mittens fitted the kitten 🙂 Grüße, Grüße",
]

ALPHABET = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}

some = settings(max_examples=40, deadline=None, derandomize=True)
looks_special = st.sampled_from(["<bot>", "<|endoftext|>", "[PAD]", "</s>", "<unk>", "\0", "\x03"])
texts = st.one_of(st.text(), looks_special, st.sampled_from(TEXTS))
mixed_bytes = st.lists(st.one_of(st.binary(), texts.map(str.encode))).map(b"".join)


@pytest.fixture(scope="module", params=[MIN_VOCABULARY_SIZE, 275, 5000])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(TEXTS, request.param)


def reference(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode by the library that learned the pieces."""
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    library.normalizer = None
    begin = " " if tokenizer.vocabulary_size > MIN_VOCABULARY_SIZE else ""
    return [token + SPECIALS for token in library.encode(begin + text).ids]


every_character = st.text(
    st.one_of(
        st.sampled_from(" \n\t'stmdlverSTkitn1²½一\xa0_-.🙂"),
        st.characters(codec="utf-8"),  # half a character never comes so far
    )
)


@given(st.one_of(texts, every_character))
@example("it's 'tis we'll THEY'LL 'LL I'd've   two  \n\n three")
@example("kitten" * 99 + "mitten" * 99)
@example("\x1c\x1f\x85\u200a\u200b\u2028\ufeff٣๓Ⅷ①ªǅʰ")
@settings(max_examples=300, deadline=None, derandomize=True)
def test_pieces_are_those_of_the_library(tokenizer: Tokenizer, text: str) -> None:
    ids = reference(tokenizer, text)
    assert tokenizer.encode(text) == ids
    assert tokenizer.encode(text) == ids  # which come from the cache now


@pytest.mark.parametrize("merges", [
    ["a b", "b c", "ab c", "a bc"],
    ["b c", "a b", "a bc", "ab c"],
    ["ab a", "a b", "b a", "aba b", "ab ab"],
    ["a a", "aa aa", "aa a", "aaaa aa", "a a"],
])  # fmt: skip
@given(text=st.text("abc", max_size=30))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_merges_in_any_order_are_done_as_by_the_library(merges: list[str], text: str) -> None:
    pieces = {*ALPHABET, *("".join(merge.split()) for merge in merges)}
    vocabulary = {piece: n for n, piece in enumerate(sorted(pieces))}
    found = json.loads(Tokenizer.train(TEXTS, 280).to_json())
    found["model"] |= {"vocab": vocabulary, "merges": merges}
    tokenizer = Tokenizer.from_json(json.dumps(found))
    assert tokenizer.encode(text) == reference(tokenizer, text)


def test_many_words_are_forgotten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.data.bpe.MAX_CACHED_WORDS", 4)
    tokenizer = Tokenizer.train(TEXTS, 275)
    for text in (*TEXTS, "kitten" * 99):
        assert tokenizer.encode(text) == reference(tokenizer, text)
        assert len(tokenizer._bpe._cached) <= 4
    assert "kitten" * 99 not in " ".join(tokenizer._bpe._cached)


def test_json_is_what_the_library_writes(tokenizer: Tokenizer) -> None:
    text = tokenizer.to_json()
    assert tokenizers.Tokenizer.from_str(text).to_str(pretty=False) == text


@given(texts)
@some
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode(text.encode()) == ids
    assert tokenizer.piece_bytes[[*ids, END]].sum() == len(text.encode())


@given(mixed_bytes)
@example("Grüße".encode()[:-4])
@some
def test_any_bytes_come_back(tokenizer: Tokenizer, data: bytes) -> None:
    ids = tokenizer.encode(data)
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", "replace")


@given(mixed_bytes)
@some
def test_what_is_told_token_by_token_is_the_text(tokenizer: Tokenizer, data: bytes) -> None:
    telling, raw = tokenizer.decode_stream(), tokenizer.decode_stream()
    message = [ROLES["bot"], *tokenizer.encode(data), END]
    told = "".join([*map(telling.say, message), telling.rest()])
    assert told == tokenizer.decode(message)
    assert b"".join(map(raw.bytes_of, message)) == data


def test_a_word_is_the_same_piece_wherever_it_stands() -> None:
    tokenizer = Tokenizer.train(["the kitten", "a kitten", "kitten"] * 9, 400)
    assert tokenizer.encode("kitten")[0] == tokenizer.encode("the kitten")[1]


@given(mixed_bytes)
@some
def test_no_text_makes_a_special_id(tokenizer: Tokenizer, data: bytes) -> None:
    ids = tokenizer.encode(data)
    assert all(SPECIALS <= i < tokenizer.vocabulary_size for i in ids)


@given(st.lists(texts))
@some
def test_a_batch_is_encoded_like_each_of_its_texts(tokenizer: Tokenizer, batch: list[str]) -> None:
    assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_special_ids_stand_for_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(range(SPECIALS)) == ""
    assert not tokenizer.piece_bytes[list(ROLES.values())].any()
    assert tokenizer.piece_bytes[SPECIALS:].all()


@given(texts)
@some
def test_the_smallest_vocabulary_is_plain_bytes(text: str) -> None:
    tokenizer = Tokenizer.train(TEXTS, MIN_VOCABULARY_SIZE)
    assert tokenizer.vocabulary_size == 260
    assert len(tokenizer.encode(text)) == len(text.encode())
    assert tokenizer.encode_batch([text, text]) == [tokenizer.encode(text)] * 2


def test_a_vocabulary_grows_as_far_as_the_texts_go() -> None:
    sizes = [
        Tokenizer.train(TEXTS, size).vocabulary_size for size in (270, 280, MAX_VOCABULARY_SIZE)
    ]
    assert sizes[:2] == [270, 280]
    assert 280 < sizes[2] < 400
    assert Tokenizer.train([], 300).vocabulary_size == MIN_VOCABULARY_SIZE


@pytest.mark.parametrize("size", [-1, MIN_VOCABULARY_SIZE - 1, MAX_VOCABULARY_SIZE + 1])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(ElmanError, match=f"vocabulary {size}: must be from 260"):
        Tokenizer.train(TEXTS, size)


def test_an_error_in_the_texts_reaches_the_caller() -> None:
    def broken() -> Iterator[str]:
        yield TEXTS[0]
        raise ElmanError("line 2 is broken")

    with pytest.raises(ElmanError, match="line 2 is broken"):
        Tokenizer.train(broken(), 280)


def test_training_depends_on_the_texts_and_the_size_alone() -> None:
    digest = Tokenizer.train(TEXTS, 280).digest
    assert Tokenizer.train(iter(TEXTS), 280).digest == digest
    assert Tokenizer.train(TEXTS, 279).digest != digest
    assert Tokenizer.train(TEXTS[:1], 280).digest != digest


def test_json_holds_the_whole_tokenizer(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.digest == tokenizer.digest
    assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


def changed(**parts: Any) -> str:
    return json.dumps({**json.loads(Tokenizer.train(TEXTS, 280).to_json()), **parts})


def pieces(vocabulary: dict[str, Any]) -> str:
    model = json.loads(Tokenizer.train(TEXTS, 280).to_json())["model"]
    return changed(model=model | {"vocab": vocabulary, "merges": []})


def of_model(model: models.Model) -> str:
    foreign = tokenizers.Tokenizer(model)
    foreign.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return foreign.to_str()


TOO_MANY = {f"{i:05}": i for i in range(256, MAX_VOCABULARY_SIZE)}
PADDING = {
    "strategy": {"Fixed": 9},
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "!",
}
PREFIXED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="broken"),
        pytest.param("null", id="no object"),
        pytest.param(of_model(models.WordLevel({"tea": 0}, unk_token="tea")), id="words"),
        pytest.param(of_model(models.WordLevel(ALPHABET, unk_token="!")), id="words of one byte"),
        pytest.param(of_model(models.BPE({"a": 0, "b": 1}, [])), id="bytes missing"),
        pytest.param(of_model(models.BPE({**ALPHABET, "€": 256}, [])), id="not of bytes"),
        pytest.param(of_model(models.BPE({**ALPHABET, "aa": 300}, [])), id="gaps"),
        pytest.param(of_model(models.BPE({**ALPHABET, **TOO_MANY}, [])), id="more than uint16"),
        pytest.param(pieces({**ALPHABET, "aa": "256"}), id="an id in words"),
        pytest.param(pieces({**ALPHABET, "aa": 256.0}), id="a broken id"),
        # These would lose or add text without a word.
        pytest.param(changed(normalizer={"type": "Lowercase"}), id="lower case"),
        pytest.param(changed(pre_tokenizer=PREFIXED), id="space before"),
        pytest.param(changed(pre_tokenizer=None), id="text not spelled in bytes"),
        pytest.param(changed(padding=PADDING), id="padding"),
        pytest.param(
            changed(
                truncation={
                    "direction": "Right",
                    "max_length": 2,
                    "strategy": "LongestFirst",
                    "stride": 0,
                }
            ),
            id="truncation",
        ),
    ],
)
def test_what_would_not_write_all_text_is_refused(foreign: str) -> None:
    with pytest.raises(ElmanError, match="tokenizer"):
        Tokenizer.from_json(foreign)
