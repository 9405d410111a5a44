"""The store in a real PostgreSQL: the same answers as in SQLite, migrations, and coming back."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from elman.chat import LOCAL, MemoryStore, Recall, Session
from elman.chat import postgres as postgres_module
from elman.chat.database import NoRoomError, UnavailableError
from elman.chat.forgetting import count_conversations, delete_conversations, roots_with
from elman.chat.memory import holder
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot
from elman.serve.store.keys import Keys

if TYPE_CHECKING:
    from postgres_server import Postgres


@pytest.fixture(scope="module")
def bot(trained: Path) -> Bot:
    return load_bot(trained, "float32")


@pytest.fixture
def url(postgres: "Postgres") -> str:
    return postgres.database()


@pytest.fixture
def store(url: str) -> Iterator[MemoryStore]:
    with MemoryStore(url) as found:
        yield found


def talk(store: MemoryStore, bot: Bot, name: str = "tea") -> Session:
    """A session that goes back, forks and is edited."""
    session = Session(bot, SamplingParams(seed=1), store=store, name=name)
    for text in ("what is 1 plus 2?", "and 2 plus 2?", "Zoë: 100 % sure? %s :x"):
        "".join(session.say(text))
    session.undo()
    "".join(session.again())
    other = session.fork(f"{name} 2")
    "".join(other.edit(1, "what is 3 plus 1?"))
    return session


def dumped(store: MemoryStore) -> dict[str, Any]:
    """All that a store holds, but for times."""
    with store.reading() as connection:
        sessions = store.sessions(connection, LOCAL)
        return {
            kept.name: [
                kept[:4],
                [node[:-1] for node in store.tree(connection, LOCAL, kept.name)],
                [node[:-1] for node in store.path(connection, LOCAL, kept.head or b"")],
                [node[:-1] for node in store.before(connection, LOCAL, kept.head or b"", 2)],
                sorted(store.held(connection, LOCAL, holder(kept.name))),
            ]
            for kept in sessions
        }


def test_it_holds_what_sqlite_holds(store: MemoryStore, bot: Bot) -> None:
    here = talk(store, bot)
    with MemoryStore() as plain:
        there = talk(plain, bot)
        assert dumped(store) == dumped(plain)
        assert [node[:-1] for node in here.tree()] == [node[:-1] for node in there.tree()]
        for each in (store, plain):
            with each.writing() as connection:
                assert each.delete_session(connection, LOCAL, "tea")
                assert not each.delete_session(connection, LOCAL, "tea")
        assert dumped(store) == dumped(plain)


def test_another_process_goes_on_where_one_was(url: str, store: MemoryStore, bot: Bot) -> None:
    said = talk(store, bot)
    with MemoryStore(url) as other:
        again = Session(bot, store=other, name="tea")
        assert [node.key for node in again.path] == [node.key for node in said.path]
        assert not again.read_anew


def test_conversations_are_found_and_wiped(
    store: MemoryStore, bot: Bot, postgres: "Postgres", url: str
) -> None:
    talk(store, bot)
    talk(store, bot, "coffee")
    assert b"100 % sure" in postgres.files()
    with store.reading() as connection:
        assert not roots_with(connection, [], [])
        assert not roots_with(connection, ["Zo"], ["100 % sure of"])
        by_name = roots_with(connection, ["zOë"], [])
        assert by_name == roots_with(connection, [], ["100 % SURE"])
        by_session = roots_with(connection, ["coffee"], [])
        assert len(by_session) == 1
        before = count_conversations(connection, by_name)
    assert before.messages
    assert before.sessions
    delete_conversations(store, by_name)
    with store.reading() as connection:
        assert not any(count_conversations(connection, by_name)[1:])
    assert b"100 % sure" not in postgres.files()


def test_a_text_with_what_postgresql_lacks_is_kept(store: MemoryStore, bot: Bot) -> None:
    session = Session(bot, store=store, name="nul")
    "".join(session.say("a\0b"))
    assert session.path[0].text == "a\ufffdb"
    assert Session(bot, store=store, name="nul").path[0].text == "a\ufffdb"


def test_those_who_write_take_turns(url: str, store: MemoryStore) -> None:
    """Two hundred increments by four stores at once: none is lost, and none fails."""
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO sessions VALUES ('o', 'n', 'b', :d, NULL, 0, 0)", {"d": b""}
        )

    def count() -> None:
        with MemoryStore(url) as own:
            for _ in range(50):
                with own.writing() as connection:
                    [n] = connection.execute("SELECT created FROM sessions").fetchone()
                    connection.execute("UPDATE sessions SET created = :n", {"n": n + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert connection.execute("SELECT created FROM sessions").fetchone()[0] == 200


def test_a_view_does_not_change_and_a_failure_leaves_nothing(
    url: str, store: MemoryStore, bot: Bot
) -> None:
    recall = Recall(store, bot)
    node = recall.after(None, "user", "hello")
    with MemoryStore(url) as other, store.reading() as connection:
        assert store.node(connection, LOCAL, node.key) is None
        with other.writing() as writing:
            recall.put(writing, node)
        assert store.node(connection, LOCAL, node.key) is None
    second = recall.after(node, "bot", "hi")

    def fail() -> None:
        with store.writing() as connection:
            recall.put(connection, second)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(ElmanError, match="cannot be read"), store.reading() as connection:
        connection.execute("DELETE FROM nodes")
    with store.reading() as connection:
        assert store.node(connection, LOCAL, node.key) is not None
        assert store.node(connection, LOCAL, second.key) is None


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_database_that_goes_away_and_comes_back(
    postgres: "Postgres", store: MemoryStore, bot: Bot, end: str
) -> None:
    session = talk(store, bot)
    before = dumped(store)
    getattr(postgres, end)()
    try:
        for open_ in (store.reading, store.writing):
            with pytest.raises(UnavailableError), open_():
                pass
        with pytest.raises(UnavailableError, match=r"postgresql://elman@/test"):
            MemoryStore(postgres.url())
    finally:
        postgres.start()
    assert dumped(store) == before
    "".join(session.say("thanks"))


def test_a_connection_that_breaks_while_something_is_written(
    postgres: "Postgres", store: MemoryStore, bot: Bot
) -> None:
    recall = Recall(store, bot)
    node = recall.after(None, "user", "hello")

    def write() -> None:
        with store.writing() as connection:
            recall.put(connection, node)
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = 'elman'"
            )
            recall.put(connection, recall.after(node, "bot", "hi"))

    with pytest.raises(UnavailableError):
        write()
    with store.reading() as connection:
        assert store.node(connection, LOCAL, node.key) is None


def test_who_waits_too_long_for_a_turn_is_told(
    url: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sooner = postgres_module.TAKE_TURN.replace("'10s'", "'10ms'")
    assert sooner != postgres_module.TAKE_TURN
    with MemoryStore(url) as other, store.writing():
        monkeypatch.setattr(postgres_module, "TAKE_TURN", sooner)
        with pytest.raises(UnavailableError, match="lock timeout"), other.writing():
            pass


def test_a_full_disk_is_one(store: MemoryStore) -> None:
    with pytest.raises(NoRoomError), store.writing() as connection:
        connection.execute("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$")


def columns(store: MemoryStore, sql: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    with store.reading() as connection:
        for table, column in connection.execute(sql):
            found.setdefault(table, set()).add(column)
    return found


def test_both_kinds_of_stores_have_the_same_tables(store: MemoryStore) -> None:
    ours = columns(
        store,
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public'",
    )
    assert ours.pop("alembic_version")
    with MemoryStore() as plain:
        theirs = columns(
            plain,
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
            "WHERE m.type = 'table'",
        )
    assert theirs.pop("about")
    assert {table: names - {"rowid"} for table, names in ours.items()} == theirs


def test_an_older_schema_is_brought_up_and_a_later_one_is_refused(
    url: str, bot: Bot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elman: Callable[..., Any]
) -> None:
    """As if the next version of Elman added a column."""
    with MemoryStore(url) as old:
        talk(old, bot)
        before = dumped(old)
    later = tmp_path / "migrations"
    shutil.copytree(postgres_module.MIGRATIONS, later)
    (later / "versions" / "pinned.py").write_text(
        "from alembic import op\n"
        'revision, down_revision = "2", "1"\n'
        "def upgrade():\n"
        '    op.execute("ALTER TABLE sessions ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT FALSE")\n'
    )
    with monkeypatch.context() as patched:
        patched.setattr(postgres_module, "MIGRATIONS", later)
        with MemoryStore(url) as new, new.reading() as connection:
            assert connection.execute("SELECT DISTINCT pinned FROM sessions").fetchall() == [
                (False,)
            ]
        with MemoryStore(url) as new:
            assert dumped(new) == before
    ran = elman("sessions", "list", "--db", url)
    assert ran.code == 2
    assert "revision 2" in ran.err
    assert "later version of Elman" in ran.err


def test_many_open_an_empty_database_at_once(url: str) -> None:
    failed: list[BaseException] = []

    def open_() -> None:
        try:
            MemoryStore(url).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_store_of_sqlite_is_copied(
    url: str, bot: Bot, tmp_path: Path, elman: Callable[..., Any]
) -> None:
    """Twice: what is there already stays."""
    old = tmp_path / "memory.db"
    with MemoryStore(old) as source:
        session = talk(source, bot)
        before = dumped(source)
    secret = elman("keys", "add", "phone", "--db", old).out.strip()
    elman("keys", "add", "tablet", "--db", old)
    ran = elman("sessions", "copy", "--to", url, "--db", old)
    assert ran.code == 0, ran.err
    assert " rows are copied to postgresql://elman@/test" in ran.out
    with MemoryStore(url) as target:
        assert dumped(target) == before
        again = Session(bot, store=target, name="tea")
        for ours, theirs in zip(again.state, session.state, strict=True):
            assert (ours == theirs).all()
        assert [key.name for key in Keys(target).list()] == ["phone", "tablet"]
        assert (found := Keys(target).find(secret)) is not None
        assert found.name == "phone"
    ran = elman("sessions", "copy", "--to", url, "--db", old)
    assert ran.out.startswith("0 rows are copied")
    assert "were there already" in ran.out
    ran = elman("sessions", "copy", "--to", tmp_path / "other.db", "--db", url)
    assert ran.code == 2
    assert "only a store of SQLite" in ran.err


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("postgresql://ann:secret@localhost:port/x", "expected postgresql://"),
        ("postgresql://ann:secret@/x?host=/nowhere", "cannot be opened"),
        ("postgresql://ann:secret@/x?colour=red", "colour"),
        ("mysql://ann:secret@localhost/x", "not a database that Elman knows"),
    ],
)
def test_a_place_that_is_none(place: str, why: str, elman: Callable[..., Any]) -> None:
    ran = elman("sessions", "list", "--db", place)
    assert ran.code == 2
    assert why in ran.err
    assert "secret" not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_chat_and_sessions_at_a_terminal(
    url: str, trained: Path, tmp_path: Path, elman: Callable[..., Any]
) -> None:
    ran = elman("chat", trained, "--session", "tea", "--db", url, given="what is 1 plus 2?\n")
    assert ran.code == 0, ran.err
    assert "tea" in elman("sessions", "list", "--db", url).out
    assert "what is 1 plus 2?" in elman("sessions", "show", "tea", "--db", url).out
    assert elman("sessions", "export", "tea", "--out", tmp_path / "t", "--db", url).code == 0
    found = elman("doctor", "--json", "--db", url.replace("elman@", "elman:secret@")).out
    assert "1 kept in postgresql://" in found
    assert "secret" not in found
    assert elman("sessions", "delete", "tea", "--db", url).code == 0
