"""Replies that somebody wrote are found by what was said, and ranked by whether they make sense."""

import math
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import compress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.exchanges import CANDIDATES, Exchanges, NearReply, last_sentence
from elman.generate.judging import CLOSELY, Judged
from elman.generate.listening import Listening
from elman.generate.match import Match
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.penalties import PEOPLE, History
from elman.generate.replier import Replier
from elman.generate.stems import stems_of
from elman.generate.told import ASKING_BUCKETS, ASKING_TRAITS, LINE_TRAITS, ToldRanking
from elman.generate.written import WRITTEN, Written
from elman.generate.written_arrays import MAX_EXCHANGES, WrittenArrays, WrittenExchange
from elman.generate.written_facts import (
    NET_TRAITS,
    WORD_TRAITS,
    WRITTEN_FORMAT,
    RankingFacts,
    Regression,
)
from elman.model.array_files import read_arrays, write_arrays

EXCHANGES = [
    WrittenExchange("We are getting a puppy!", "How nice! What will you call it?"),
    WrittenExchange("Maybe Benny.", "Benny is a good name.", goes_on=True),
    WrittenExchange("I broke my arm.", "Ouch! How did it happen?"),
    WrittenExchange("I fell off my bike.", "Does it hurt a lot?", goes_on=True),
    WrittenExchange("I fell off my chair.", "Are you all right?"),
    WrittenExchange("My cat is ill.", "Poor cat! Since when?"),
    WrittenExchange("My cat is sleeping.", "Let it sleep."),
    WrittenExchange("Thank you for today.", "You are welcome."),
]
CAT, ARM = np.eye(48, dtype=np.int8)[:2] * 90
VECTORS = {stems_of("cat")[0]: CAT, stems_of("dog")[0]: CAT + ARM // 2, stems_of("arm")[0]: ARM}

LIKENESS_ALONE = [1.0, *[0.0] * (len(WORD_TRAITS) - 1)]


NOTHING_ASKED = ToldRanking(
    lines=[0.0] * len(LINE_TRAITS),
    told=[-9.0, *[0.0] * (len(ASKING_TRAITS) - 1)],
    untold=[-9.0, *[0.0] * (len(ASKING_TRAITS) - 1)],
    bias=0.0,
)


def packed(text: bytes) -> np.ndarray:
    return np.frombuffer(compress(text), np.uint8)


LISTENING = Listening(whole=["I see.", "Go on."])


def ranking(bound: float = 0.0) -> RankingFacts:
    return RankingFacts(
        written=WRITTEN_FORMAT,
        by_words=Regression(weights=LIKENESS_ALONE, bias=0.0),
        by_all=Regression(weights=[*LIKENESS_ALONE, *[0.0] * len(NET_TRAITS)], bias=0.0),
        bound=bound,
        question_bound=bound,
        told=NOTHING_ASKED,
    )


def made(exchanges: Sequence[WrittenExchange] = EXCHANGES, common_in: int = 100) -> Written:
    arrays = WrittenArrays.of(exchanges, common_in, np.zeros(ASKING_BUCKETS), VECTORS)
    return Written(Exchanges(arrays), ranking())


def found(written: Written, *heard: str, said: Sequence[str] = ()) -> list[str]:
    """Return the replies to the last message, the first one said last."""
    return [each.place.reply for each in near(written, *heard, said=said)]


def near(written: Written, *heard: str, said: Sequence[str] = ()) -> list[NearReply]:
    """Return what is written for what is like the last message."""
    return list(written.exchanges.near(heard[::-1], said[::-1]).candidates)


@pytest.fixture(scope="module")
def base() -> NetworkBot:
    return load_network_bot("base")


def asked(bot: NetworkBot, *texts: str) -> tuple[tuple[np.ndarray, ...], list[History]]:
    rows = [[np.array([ROLES["user"], *bot.tokenizer.encode(text), END])] for text in texts]
    state = bot.decoder.read(rows, bot.decoder.initial_state(len(texts)))
    return state, [History([text], (), text, whole=True) for text in texts]


def test_what_is_most_like_the_message_comes_first() -> None:
    written = made()
    assert found(written, "I broke my arm!")[0] == "Ouch! How did it happen?"
    assert found(written, "we're getting puppies")[0] == "How nice! What will you call it?"
    assert found(written, "xyzzy") == []
    assert len(found(made([*EXCHANGES] * 9), "My cat is ill.")) <= CANDIDATES
    [first, *_] = near(written, "I broke my arm.")
    assert first.place.asked == pytest.approx(1)
    assert 0 < first.support <= first.place.alike


def test_the_message_before_tells_where_one_is() -> None:
    written = made()
    fell = "I fell off it."
    assert found(written, "I broke my arm.", fell)[0] == "Does it hurt a lot?"
    places = {each.place.reply: each.place for each in near(written, "I broke my arm.", fell)}
    assert places["Does it hurt a lot?"].before == pytest.approx(1)
    assert places["Are you all right?"].before == 0
    told = near(written, "I broke my arm.", fell, said=["Ouch! How did it happen?"])
    assert max(each.place.said for each in told) == pytest.approx(1)


def test_a_reply_that_nothing_was_written_before_fits_after_anything() -> None:
    """Not to be like what was said before is no fault of "My cat is ill." alone."""
    alone, later = (
        {each.place.reply: each.place for each in near(made(), *heard)}["Poor cat! Since when?"]
        for heard in (["My cat is ill!"], ["I love the sea, and boats.", "My cat is ill!"])
    )
    assert later.both == alone.both == later.asked == pytest.approx(1)


def test_a_word_is_like_another_that_it_has_no_letter_in_common_with() -> None:
    written = made()
    dog, arm = (
        next(each.meant for each in near(written, text) if each.place.reply == "Let it sleep.")
        for text in ("My dog is sleeping.", "My arm is sleeping.")
    )
    assert dog.meant > arm.meant
    assert dog.point > arm.point
    assert 0 < dog.missing < arm.missing
    assert 0 < dog.extra < arm.extra
    [same, *_] = near(written, "My cat is sleeping.")
    assert (same.meant.point, same.meant.there) == pytest.approx((1, 1))
    assert (same.meant.missing, same.meant.extra) == pytest.approx((0, 0), abs=1e-6)


def test_a_reply_that_takes_up_what_was_not_said_here_does_not_fit() -> None:
    written = made()
    assert "Poor cat! Since when?" in found(written, "My cat is ill.")
    assert "Poor cat! Since when?" not in found(written, "My dog is ill.")
    assert "Poor cat! Since when?" in found(written, "I have a cat.", "It is ill.")
    everywhere = made(common_in=1)
    assert "Poor cat! Since when?" in found(everywhere, "My dog is ill.")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("dogs", "dog", True),
        ("babies", "baby", True),
        ("baked", "baking", True),
        ("running", "run", True),
        ("married", "marry", True),
        ("My sister's", "my sister", True),
        ("story", "store", False),
        ("mother", "moth", False),
        ("concert", "concept", False),
        ("theme", "them", False),
        ("evening", "even", False),
    ],
)
def test_words_are_known_without_their_endings(one: str, other: str, same: bool) -> None:
    assert (stems_of(one) == stems_of(other)) == same


def test_of_a_long_message_the_last_question_is_answered() -> None:
    long = "I have two dogs and a horse. My cat is ill. What should I do? I am so worried."
    assert last_sentence(long) == "What should I do?"
    assert last_sentence("I slept well. My cat is ill. Oh.") == "My cat is ill."
    assert last_sentence("Oh.") == "Oh."
    assert last_sentence("") == ""
    [first, *_] = near(made(), "I slept well and long last night. My cat is ill.")
    place = first.place
    assert place.reply == "Poor cat! Since when?"
    assert place.last == pytest.approx(1)
    assert place.asked < 0.9
    assert place.share < 0.5


def test_the_likeness_is_the_cosine_of_all_words_and_pairs() -> None:
    texts = [each.asked for each in EXCHANGES]

    def bag(text: str) -> dict[object, float]:
        stems: list[object] = list(stems_of(text))
        own = [*stems, *zip(["^", *stems], [*stems, "$"], strict=True)]
        often = {code: sum(code in codes(other) for other in texts) for code in own}
        return {code: math.log((1 + len(texts)) / (1 + often[code])) for code in own}

    def codes(text: str) -> set[object]:
        stems: list[object] = list(stems_of(text))
        return {*stems, *zip(["^", *stems], [*stems, "$"], strict=True)}

    message = "My arm is ill today."
    own = bag(message)
    for place in (each.place for each in near(made(), message)):
        there = bag(texts[place.row])
        product = sum(own[code] * there[code] for code in own.keys() & there.keys())
        lengths = [math.hypot(*each.values()) for each in (own, there)]
        assert place.asked == pytest.approx(product / math.prod(lengths), rel=1e-5)


@given(
    st.lists(
        st.builds(WrittenExchange, *[st.text(max_size=30)] * 2, st.booleans()),
        min_size=1,
        max_size=9,
    ),
    st.lists(st.text(max_size=30), min_size=1, max_size=3),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_text_can_be_written_and_asked(
    exchanges: list[WrittenExchange], heard: list[str]
) -> None:
    exchanges = [
        WrittenExchange(_whole(each.asked), _whole(each.reply), each.goes_on and n > 0)
        for n, each in enumerate(exchanges)
    ]
    written = made(exchanges)
    assert [written.exchanges.reply(n) for n in range(len(exchanges))] == [
        each.reply for each in exchanges
    ]
    for each in written.exchanges.near([_whole(text) for text in heard], ["yes"]).candidates:
        assert each.place.reply
        assert 0 <= each.place.asked < 1.001
        assert all(map(math.isfinite, (*each.meant, each.support)))


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def test_a_file_holds_all_of_it(base: NetworkBot, tmp_path: Path) -> None:
    bot = replace(base, path=tmp_path)
    assert Written.read(bot) is None
    written = made()
    written.save(tmp_path)
    again = Written.read(bot)
    assert again is not None
    assert again.facts == written.facts
    for message in ("My cat is ill.", "I fell."):
        assert again.exchanges.near([message], []) == written.exchanges.near([message], [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lengths", np.array([0, 5], np.uint8)),
        ("reply_lengths", np.zeros(8, np.uint8)),
        ("goes_on", np.zeros(3, bool)),
        ("goes_on", np.ones(8, bool)),
        ("known", np.zeros(3, np.int32)),
        ("asking", np.zeros(3, np.float16)),
        ("asking", np.full(ASKING_BUCKETS, np.nan, np.float16)),
        ("stems", np.zeros(4, np.float32)),
        ("vectors", np.zeros((3, 48), np.int8)),
        ("vectors", np.zeros(3, np.int8)),
        ("replies", np.zeros(9, np.uint8)),
        ("replies", packed(b"x" * 10**6)),
        ("replies", packed("".join(each.reply for each in EXCHANGES).encode())[:-4]),
        ("replies", np.append(packed("".join(each.reply for each in EXCHANGES).encode()), 0)),
        ("common", np.zeros((2, 2), np.int32)),
        ("other", np.zeros(1, np.int32)),
    ],
)
def test_a_damaged_file_is_an_error(
    base: NetworkBot, tmp_path: Path, name: str, value: np.ndarray
) -> None:
    made().save(tmp_path)
    arrays, facts = read_arrays(tmp_path / WRITTEN)
    write_arrays(tmp_path / WRITTEN, {**arrays, name: value}, facts)
    with pytest.raises(ElmanError, match=WRITTEN):
        Written.read(replace(base, path=tmp_path))


def test_a_file_is_unpacked_no_further_than_it_says() -> None:
    arrays = made().exchanges.arrays._replace(replies=packed(b"x" * 10**8))
    tracemalloc.start()
    with pytest.raises(ValueError, match="not whole"):
        arrays.replies_text()
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_a_file_of_too_many_exchanges_is_an_error(tmp_path: Path) -> None:
    arrays, rows = made().exchanges.arrays, MAX_EXCHANGES + 1
    many = arrays._replace(lengths=np.zeros(rows, np.uint8), goes_on=np.zeros(rows, bool))
    with pytest.raises(ElmanError, match=WRITTEN):
        many._replace(reply_lengths=np.zeros(rows, np.uint8)).check(tmp_path / WRITTEN)


def test_the_judge_looks_closely_at_what_the_words_say_is_best(base: NetworkBot) -> None:
    many = [WrittenExchange(f"My cat is ill. {'so ' * n}", f"Number {n}.") for n in range(20)]
    written = replace(made([*EXCHANGES * 9, *many]), match=Match.read(base))
    assert written.match is not None
    state, histories = asked(base, "My cat is ill.")
    nears = written.nears(base.tokenizer, histories)

    def judged(by_net: bool) -> list[Judged]:
        [found] = written.judge(
            base.decoder, base.tokenizer, state, histories, nears, PEOPLE, by_net
        )
        return found

    by_words, by_all = judged(by_net=False), judged(by_net=True)
    assert len(by_words) == len(by_all) == CLOSELY
    assert {each.reply for each in by_words} == {each.reply for each in by_all}
    assert [len(each.traits) for each in by_words] == [len(WORD_TRAITS)] * CLOSELY
    assert [len(each.traits) for each in by_all] == [len(WORD_TRAITS) + len(NET_TRAITS)] * CLOSELY
    assert [each.sense for each in by_all] == sorted((each.sense for each in by_all), reverse=True)
    assert by_words[0].traits[WORD_TRAITS.index("follows")] == 0
    written.judge.most = 3
    assert len(judged(by_net=True)) == 3


def test_a_file_that_ranks_by_other_traits_is_an_error(base: NetworkBot, tmp_path: Path) -> None:
    facts = ranking()
    other = facts.model_copy(update={"by_words": Regression(weights=[1.0], bias=0)})
    Written(made().exchanges, other).save(tmp_path)
    with pytest.raises(ElmanError, match="other traits"):
        Written.read(replace(base, path=tmp_path))


@pytest.mark.parametrize("text", ["", "\ud800 hi", "\x1b[31m", "x" * 501])
def test_a_line_that_cannot_be_said_is_an_error(
    base: NetworkBot, tmp_path: Path, text: str
) -> None:
    made().save(tmp_path)
    arrays, facts = read_arrays(tmp_path / WRITTEN)
    write_arrays(tmp_path / WRITTEN, arrays, {**facts, "listening": {"whole": [text]}})
    with pytest.raises(ElmanError, match=WRITTEN):
        Written.read(replace(base, path=tmp_path))


def test_the_base_takes_what_somebody_wrote(base: NetworkBot) -> None:
    replier = Replier(base)
    news = ["We are getting a puppy!", "I failed my driving test.", "What is my name?"]
    state, histories = asked(base, *news)
    generator = np.random.default_rng(0)
    every = replier.choose(state, generator, (), histories)
    assert [each.origin for each in every[:2]] == ["written", "written"]
    assert every[2].origin != "written", "that is to be told"
    for row in range(2):
        own = base.decoder.select(state, [row])
        alone = replier.choose(own, generator, (), [histories[row]])
        assert alone[0].tokens == every[row].tokens
        said = list(replier(own, generator, (), histories[row]))
        assert tuple(token for token, _ in said[:-1]) == every[row].tokens
        assert replier.last is not None
        assert replier.last.origin == "written"
        again = replier.choose(own, generator, (), [histories[row].also(every[row].tokens)])
        assert again[0].tokens != every[row].tokens, "another one was wanted"
        [by_words] = replier.written(own, [histories[row]], by_net=False)
        assert by_words is not None


def test_what_nothing_fits_is_listened_to(base: NetworkBot) -> None:
    facts = ranking(bound=0.9).model_copy(
        update={"listening": Listening(whole=["I see.", "Go on."], unknowing=["I don't know."])}
    )
    written = replace(made(), facts=facts)
    texts = ["Xyzzy plugh.", "Xyzzy plugh?", "word " * 41, "", "?!", "What is my name?"]
    state, histories = asked(base, *texts)
    best = written.best(base.decoder, base.tokenizer, state, histories, PEOPLE)
    replies = [each and each.reply for each in best]
    assert replies[0] in facts.listening.whole
    assert replies[1:] == ["I don't know.", None, None, None, "I don't know."]
    [nobody] = written.best(base.decoder, base.tokenizer, state, [History()], PEOPLE)
    assert nobody is None


def test_it_listens_twice_in_a_row_only_where_nothing_fits_somewhat(base: NetworkBot) -> None:
    facts = ranking(bound=0.9).model_copy(update={"listening": LISTENING})
    written = replace(made(), facts=facts)

    def reply(text: str, *said: str) -> str:
        state, [history] = asked(base, text)
        own = [tuple(base.tokenizer.encode(each)) for each in said]
        [found] = written.best(
            base.decoder, base.tokenizer, state, [history._replace(said=own)], PEOPLE
        )
        assert found is not None
        assert found.origin == "written"
        return found.reply

    first = reply("My cat is ill.")
    assert first in LISTENING.whole
    assert reply("Xyzzy plugh.", "I see. And then?") == "Go on.", "a part of it was said"
    assert reply("My cat is ill.", first) == "Poor cat! Since when?", "somewhat is better now"
    assert reply("My cat is ill.", "Oh.", first) in LISTENING.whole
    assert reply("Xyzzy plugh.", first) == ({*LISTENING.whole} - {first}).pop()


def test_what_the_net_recalls_is_said_where_its_words_were_told(base: NetworkBot) -> None:
    ask = [9.0, *[0.0] * (len(ASKING_TRAITS) - 1)]
    untold = [19.0, *ask[1:]]
    told = NOTHING_ASKED.model_copy(update={"told": ask, "untold": untold})
    facts = ranking().model_copy(update={"told": told, "untold": ["I don't know."]})
    # "you", "live" and "in" stand in replies to everything here.
    written = made([WrittenExchange("Hm.", "You live in.")], common_in=1)
    written = replace(written, facts=facts)
    tokenizer, seen = base.tokenizer, (*base.tokenizer.encode("I see."),)

    def answer(told_before: str, heard: str, by_net: bool = True) -> tuple[str, str]:
        messages = [
            np.array([ROLES["user"], *tokenizer.encode(told_before), END]),
            np.array([ROLES["bot"], *seen, END]),
            np.array([ROLES["user"], *tokenizer.encode("Where do I live?"), END]),
        ]
        state = base.decoder.read([messages], base.decoder.initial_state(1))
        history = History(["Where do I live?", heard], [seen], whole=True)
        history = history._replace(asked=history.heard[0])
        [found] = written.best(base.decoder, tokenizer, state, [history], PEOPLE, by_net)
        assert found is not None
        return found.reply, found.origin

    reply, origin = answer("I live in Lisbon.", "I live in Lisbon.")
    assert "Lisbon" in reply
    assert origin == "generate"
    assert answer("I live in Lisbon.", "I like it.") == ("I don't know.", "told")
    assert answer("I live in Lisbon.", "I live in Lisbon.", by_net=False)[1] == "told"


def test_of_all_that_people_write_the_replies_are_short_and_stay_apart(base: NetworkBot) -> None:
    written = Written.read(base)
    assert written is not None
    every = [written.exchanges.reply(row) for row in range(len(written.exchanges.arrays.goes_on))]
    assert len(every) > 50_000
    assert all(len(reply.split()) <= 30 for reply in every)
    assert all("\ufffd" not in reply for reply in every)
    assert written.exchanges.arrays.vectors.any(1).all(), "a word is like itself"
    for hostile in ("<script>", "http://", "https://", "@"):
        assert not any(hostile in reply for reply in every)
