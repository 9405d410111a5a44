"""The tables of the first store in PostgreSQL.

They have the columns of `chat/schema.py`, and `rowid` where SQLite has its own: by it rows stand in
the order in which they were added. A later change of the schema is a revision beside this one,
which stays as it is.
"""

from alembic import op

revision, down_revision = "1", None

STATEMENTS = (
    """CREATE TABLE nodes (
        key BYTEA NOT NULL PRIMARY KEY,
        owner VARCHAR NOT NULL,
        parent BYTEA NOT NULL,
        root BYTEA NOT NULL,
        depth BIGINT NOT NULL,
        role VARCHAR NOT NULL,
        text TEXT NOT NULL,
        tokens BYTEA,
        time DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX children ON nodes (parent)",
    "CREATE INDEX of_root ON nodes (root)",
    """CREATE TABLE states (
        key BYTEA NOT NULL PRIMARY KEY,
        root BYTEA NOT NULL,
        depth BIGINT NOT NULL,
        state BYTEA NOT NULL
    )""",
    "CREATE INDEX to_be_thinned ON states (root, depth)",
    # A state that was compressed already is not compressed again.
    "ALTER TABLE states ALTER COLUMN state SET STORAGE EXTERNAL",
    """CREATE TABLE holds (
        owner VARCHAR NOT NULL,
        holder VARCHAR NOT NULL,
        key BYTEA NOT NULL,
        PRIMARY KEY (owner, holder, key)
    )""",
    "CREATE INDEX held ON holds (key)",
    """CREATE TABLE sessions (
        owner VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        bot VARCHAR NOT NULL,
        made_by BYTEA NOT NULL,
        head BYTEA,
        created DOUBLE PRECISION NOT NULL,
        updated DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (owner, name)
    )""",
    """CREATE TABLE keys (
        rowid BIGINT GENERATED ALWAYS AS IDENTITY,
        id VARCHAR NOT NULL PRIMARY KEY,
        name VARCHAR NOT NULL,
        hash BYTEA NOT NULL UNIQUE,
        per_minute BIGINT,
        created DOUBLE PRECISION NOT NULL,
        revoked DOUBLE PRECISION
    )""",
    """CREATE TABLE rates (
        id VARCHAR NOT NULL PRIMARY KEY,
        tokens DOUBLE PRECISION NOT NULL,
        at DOUBLE PRECISION NOT NULL
    )""",
    """CREATE TABLE responses (
        rowid BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
        id VARCHAR NOT NULL PRIMARY KEY,
        owner VARCHAR NOT NULL,
        chat VARCHAR NOT NULL,
        previous VARCHAR,
        model VARCHAR NOT NULL,
        made_by BYTEA NOT NULL,
        key BYTEA NOT NULL,
        messages BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        input TEXT NOT NULL,
        output TEXT NOT NULL,
        status VARCHAR NOT NULL,
        read BIGINT NOT NULL,
        said BIGINT NOT NULL,
        asked_for TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL,
        completed_at DOUBLE PRECISION NOT NULL
    )""",
    "CREATE INDEX of_chat ON responses (owner, chat, created_at)",
    """CREATE TABLE feedback (
        rowid BIGINT GENERATED ALWAYS AS IDENTITY,
        owner VARCHAR NOT NULL,
        response_id VARCHAR NOT NULL,
        rating VARCHAR,
        instead TEXT,
        created_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (owner, response_id)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
