"""The store against the plainest thing that could be in its place: lists, and reading anew."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from elman.chat import MemoryStore, Node, Recall, Session
from elman.chat.memory import MIN_KEPT_MESSAGES, expiring
from elman.chat.recall import EARLIER_MESSAGES, state_from_bytes, state_to_bytes
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import State
from elman.generate.penalties import HISTORY_MESSAGES
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot

OWNERS = ("ann", "bob")
TEXTS = st.text(max_size=12)


@pytest.fixture(scope="module")
def bot(trained: Path) -> Bot:
    return load_bot(trained, "float32")


def close(one: State, other: State) -> None:
    for a, b in zip(one, other, strict=True):
        # Read in other pieces, float32 sums come in another order.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 5000))
def test_states_are_thinned_as_the_rule_says(length: int) -> None:
    kept: set[int] = set()
    for depth in range(1, length + 1):
        kept = (kept | {depth}) - set(expiring(depth))
        if depth not in (length, length // 2):
            continue
        for old in range(1, depth + 1):
            power = old & -old
            assert (old in kept) == (depth < old + MIN_KEPT_MESSAGES * power)
        levels = max(0, (depth // MIN_KEPT_MESSAGES).bit_length())
        assert len(kept) <= MIN_KEPT_MESSAGES + MIN_KEPT_MESSAGES // 2 * levels
        for old in range(1, depth + 1, 7):
            behind = depth - old
            nearest = max((k for k in kept if k <= old), default=0)
            assert old - nearest <= behind / 7


class Conversations(RuleBasedStateMachine):
    """Two owners talk, branch, hold and let go; a list of texts for each message is the truth."""

    messages: Any = Bundle("messages")
    bot: Bot

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.recalls = {owner: Recall(self.store, self.bot, owner) for owner in OWNERS}
        self.truth: dict[tuple[str, bytes], list[tuple[str, str]]] = {}
        self.holds: dict[tuple[str, str], set[bytes]] = {}

    def teardown(self) -> None:
        self.store.close()

    def known(self, owner: str, node: Node) -> list[tuple[str, str]] | None:
        return self.truth.get((owner, node.key))

    @rule(target=messages, owner=st.sampled_from(OWNERS), text=TEXTS, count=st.integers(1, 20))
    def begin(self, owner: str, text: str, count: int) -> tuple[str, Node]:
        return self.put(owner, None, [f"{text}{n}" for n in range(count)])

    @rule(target=messages, message=messages, text=TEXTS, count=st.integers(1, 40))
    def go_on(self, message: tuple[str, Node], text: str, count: int) -> tuple[str, Node]:
        owner, node = message
        if self.known(owner, node) is None:
            return message
        return self.put(owner, node, [f"{text}{n}" for n in range(count)])

    def put(self, owner: str, node: Node | None, texts: list[str]) -> tuple[str, Node]:
        recall = self.recalls[owner]
        state = self.bot.decoder.initial_state(1) if node is None else recall.state(node.key)
        said = [] if node is None else self.truth[owner, node.key]
        with self.store.writing() as connection:
            for text in texts:
                role = "user" if len(said) % 2 == 0 else "bot"
                node = recall.after(node, role, text)
                state = recall.read([node], state)
                recall.put(connection, node, state)
                said = [*said, (role, text)]
                self.truth[owner, node.key] = said
            assert node is not None
            self.store.hold(connection, owner, "everything", node.key)
        self.holds.setdefault((owner, "everything"), set()).add(node.key)
        return owner, node

    @rule(message=messages)
    def look_up(self, message: tuple[str, Node]) -> None:
        owner, node = message
        said = self.known(owner, node)
        recall = self.recalls[owner]
        if said is None:
            with pytest.raises(ElmanError):
                recall.state(node.key)
            return
        with self.store.reading() as connection:
            path = self.store.path(connection, owner, node.key)
            last = self.store.before(connection, owner, node.key, 3)
            histories = [recall.history(connection, known) for known in ([node], path)]
        assert [(each.role, each.text) for each in path] == said
        assert last == path[-3:]
        for history in histories:
            assert history.whole
            heard = [text for role, text in reversed(said) if role == "user"]
            assert [*history.heard, *history.earlier] == heard
        state = self.bot.decoder.initial_state(1)
        for each in path:
            state = self.bot.decoder.read([[recall.ids(each)]], state)
        close(recall.state(node.key), state)

    @rule(message=messages)
    def others_find_nothing(self, message: tuple[str, Node]) -> None:
        owner, node = message
        other = OWNERS[1 - OWNERS.index(owner)]
        with pytest.raises(ElmanError):
            self.recalls[other].state(node.key)
        with self.store.reading() as connection:
            assert self.store.node(connection, other, node.key) is None
            assert self.store.path(connection, other, node.key) == []
            assert self.store.known(connection, other, [node.key]) == set()

    @rule(message=messages)
    def let_go(self, message: tuple[str, Node]) -> None:
        owner, node = message
        with self.store.writing() as connection:
            self.store.let_go(connection, owner, "everything", node.key)
        held = self.holds.get((owner, "everything"), set())
        held.discard(node.key)
        kept = [self.truth[owner, key] for key in held]
        # What leads to nothing that is held is gone, if it led to what was let go.
        gone = self.known(owner, node)
        for (whose, key), said in list(self.truth.items()):
            led = gone is not None and gone[: len(said)] == said
            if whose == owner and led and not any(k[: len(said)] == said for k in kept):
                del self.truth[whose, key]

    @rule(message=messages, damage=st.sampled_from(["flip", "cut", "foreign"]))
    def damage(self, message: tuple[str, Node], damage: str) -> None:
        """A state that was damaged, or is of another message, is never used."""
        _, node = message
        with self.store.writing() as connection:
            mine = {"key": node.key}
            row = connection.execute("SELECT state FROM states WHERE key = :key", mine).fetchone()
            if row is None:
                return
            [found] = row
            bad = {
                "flip": found[:60] + bytes([found[60] ^ 1]) + found[61:],
                "cut": found[:-7],
                "foreign": state_to_bytes(
                    self.bot.decoder.initial_state(1), self.recalls["ann"].fingerprint, b"x" * 16
                ),
            }[damage]
            connection.execute(
                "UPDATE states SET state = :bad WHERE key = :key", mine | {"bad": bad}
            )

    @invariant()
    def nothing_is_left_over(self) -> None:
        with self.store.reading() as connection:
            [count] = connection.execute("SELECT count(*) FROM nodes").fetchone()
            [orphans] = connection.execute(
                "SELECT count(*) FROM states WHERE key NOT IN (SELECT key FROM nodes)"
            ).fetchone()
        assert (count, orphans) == (len(self.truth), 0)


@pytest.mark.slow
def test_the_store_is_as_plain_reading(bot: Bot) -> None:
    Conversations.bot = bot
    how = settings(max_examples=25, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(Conversations, settings=how)


@given(data=st.binary(max_size=200), flip=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_byte_of_a_kept_state_can_be_changed(bot: Bot, data: bytes, flip: int, bit: int) -> None:
    spec, rng = bot.decoder.state_spec, np.random.default_rng(0)
    state = [rng.standard_normal((1, part.size), np.float32) for part in spec]
    kept = state_to_bytes(state, b"m" * 16, b"k" * 16)
    same = state_from_bytes(kept, spec, b"m" * 16, b"k" * 16)
    assert same is not None
    assert all(np.array_equal(a, b) for a, b in zip(state, same, strict=True))
    at = flip % len(kept)
    changed = kept[:at] + bytes([kept[at] ^ (1 << bit)]) + kept[at + 1 :]
    for bad in (changed, kept[:at], kept + data if data else b"", data):
        assert state_from_bytes(bad, spec, b"m" * 16, b"k" * 16) is None
    assert state_from_bytes(kept, spec, b"n" * 16, b"k" * 16) is None
    assert state_from_bytes(kept, spec, b"m" * 16, b"l" * 16) is None


def test_what_was_said_long_ago_is_known(bot: Bot) -> None:
    recall = Recall(MemoryStore(), bot)
    roles = ("user", "bot")
    path: list[Node] = []
    for n in range(EARLIER_MESSAGES + 30):
        path.append(recall.after(path[-1] if path else None, roles[n % 2], f"line {n}"))
    path.pop()  # the last one is the user's
    with recall.store.writing() as connection:
        for node in path[:-5]:
            recall.put(connection, node)
    with recall.store.reading() as connection:
        for begin in (0, 10, len(path) - 20, len(path) - 6):  # what is at hand, and the rest
            history = recall.history(connection, path[begin:])
            heard = [*history.heard, *history.earlier]
            last = path[-HISTORY_MESSAGES - EARLIER_MESSAGES :]
            assert heard == [node.text for node in reversed(last) if node.role == "user"]
            assert len(history.heard) == HISTORY_MESSAGES // 2
            assert not history.whole, "there is more than is looked at"
        assert recall.history(connection, path[:40]).whole
        assert recall.history(connection, path[:3]).whole


@pytest.mark.slow
def test_the_store_grows_by_little(bot: Bot, tmp_path: Path) -> None:
    """Of a state of 1 KB and messages of 30 bytes, in the long run."""
    with MemoryStore(tmp_path / "memory.db") as store:
        recall = Recall(store, bot)
        spec, rng = bot.decoder.state_spec, np.random.default_rng(0)
        big = tuple(rng.standard_normal((1, part.size), np.float32) for part in spec)
        sizes: dict[int, int] = {}
        node: Node | None = None
        with store.writing() as connection:
            for number in range(1, 4001):
                node = recall.after(node, "user", f"{number:030}")
                recall.put(connection, node, big)
                if number in (2000, 4000):
                    [sizes[number]] = connection.execute("PRAGMA page_count").fetchone()
    grown = (sizes[4000] - sizes[2000]) * 4096 / 2000
    assert grown < 300


def test_another_writer_is_waited_for(tmp_path: Path, bot: Bot) -> None:
    place = tmp_path / "memory.db"
    with MemoryStore(place) as one, MemoryStore(place) as other:
        recall = Recall(one, bot)
        node = recall.after(None, "user", "hello")
        with one.writing() as connection:
            thread = threading.Thread(target=_put, args=(other, bot))
            thread.start()
            recall.put(connection, node)
        thread.join()
        with one.reading() as connection:
            assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (2,)


def _put(store: MemoryStore, bot: Bot) -> None:
    recall = Recall(store, bot)
    with store.writing() as connection:
        recall.put(connection, recall.after(None, "user", "good-bye"))


def test_places_that_are_no_store(tmp_path: Path) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"this is no database " * 300)
    with pytest.raises(ElmanError, match="not a database"):
        MemoryStore(bad)
    with pytest.raises(ElmanError, match="mysql"):
        MemoryStore("mysql://localhost/elman")
    for place in ("memory:db", "sqlite://host/memory.db", f"sqlite:///{tmp_path}/m.db?mode=ro"):
        with pytest.raises(ElmanError, match="not a database"):
            MemoryStore(place)
    with pytest.raises(ElmanError, match="cannot be opened"):
        MemoryStore(bad / "memory.db")
    old = tmp_path / "old.db"
    MemoryStore(old).close()
    connection = sqlite3.connect(old)
    connection.execute("update about set value = '99'")
    connection.commit()
    connection.close()
    with pytest.raises(ElmanError, match="format 99"):
        MemoryStore(old)


OLD_TABLES = """
CREATE TABLE about (name VARCHAR NOT NULL, value VARCHAR, PRIMARY KEY (name));
CREATE TABLE nodes ("key" BLOB NOT NULL, owner VARCHAR NOT NULL, parent BLOB NOT NULL,
    root BLOB NOT NULL, depth INTEGER NOT NULL, role VARCHAR NOT NULL, text TEXT NOT NULL,
    tokens BLOB, time FLOAT NOT NULL, PRIMARY KEY ("key")) WITHOUT ROWID;
CREATE INDEX children ON nodes (parent);
CREATE TABLE states ("key" BLOB NOT NULL, root BLOB NOT NULL, depth INTEGER NOT NULL,
    state BLOB NOT NULL, PRIMARY KEY ("key"));
CREATE INDEX to_be_thinned ON states (root, depth);
CREATE TABLE holds (owner VARCHAR NOT NULL, holder VARCHAR NOT NULL, "key" BLOB NOT NULL,
    PRIMARY KEY (owner, holder, "key")) WITHOUT ROWID;
CREATE INDEX held ON holds ("key");
CREATE TABLE sessions (owner VARCHAR NOT NULL, name VARCHAR NOT NULL, bot VARCHAR NOT NULL,
    made_by BLOB NOT NULL, head BLOB, created FLOAT NOT NULL, updated FLOAT NOT NULL,
    PRIMARY KEY (owner, name));
INSERT INTO about VALUES ('format', '1');
"""


def test_stores_of_earlier_releases_are_opened(tmp_path: Path, bot: Bot) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(old)) as raw:
        raw.executescript(OLD_TABLES)
    MemoryStore(new).close()

    def schema(place: Path, name: str) -> list[Any]:
        with closing(sqlite3.connect(place)) as connection:
            return [
                connection.execute(f"PRAGMA {part}({name})").fetchall()
                for part in ("table_xinfo", "index_list")
            ]

    for table in ("about", "nodes", "states", "holds", "sessions"):
        assert schema(old, table) == schema(new, table)
    with MemoryStore(old) as store:
        recall = Recall(store, bot)
        node = recall.after(None, "user", "hello")
        with store.writing() as connection:
            recall.put(connection, node)
        with store.reading() as connection:
            assert store.node(connection, recall.owner, node.key) == node


def test_a_store_in_memory_is_used_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.chat.sqlite.BUSY_SECONDS", 0.01)
    with MemoryStore() as store:
        with (
            store.writing(),
            pytest.raises(ElmanError, match="the memory: is in use"),
            store.reading(),
        ):
            pass
        with store.reading() as connection:
            assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (0,)


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    place = tmp_path / "memory.db"
    MemoryStore(place).close()
    assert place.stat().st_mode & 0o077 == 0


def test_a_full_disk_loses_nothing(tmp_path: Path, bot: Bot) -> None:
    place = tmp_path / "memory.db"
    sampling = SamplingParams(seed=0, max_tokens=5)
    with MemoryStore(place) as store:
        session = Session(bot, sampling, store=store, name="tea")
        "".join(session.say("hello"))
        with store.reading() as connection:
            [pages] = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ElmanError, match="cannot be written"):
            "".join(session.say("a" * 100_000))
        before = session.path
    with MemoryStore(place) as store:
        assert Session(bot, sampling, store=store, name="tea").path == before
