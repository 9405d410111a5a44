"""The tables of a store in SQLite; those of PostgreSQL are made by `migrations/`."""

TABLES = (
    """CREATE TABLE IF NOT EXISTS about (
        name VARCHAR NOT NULL PRIMARY KEY,
        value VARCHAR
    )""",
    """CREATE TABLE IF NOT EXISTS nodes (
        key BLOB NOT NULL PRIMARY KEY,
        owner VARCHAR NOT NULL,
        parent BLOB NOT NULL,
        root BLOB NOT NULL,
        depth INTEGER NOT NULL,
        role VARCHAR NOT NULL,
        text TEXT NOT NULL,
        tokens BLOB,
        time FLOAT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS children ON nodes (parent)",
    """CREATE TABLE IF NOT EXISTS states (
        key BLOB NOT NULL PRIMARY KEY,
        root BLOB NOT NULL,
        depth INTEGER NOT NULL,
        state BLOB NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS to_be_thinned ON states (root, depth)",
    """CREATE TABLE IF NOT EXISTS holds (
        owner VARCHAR NOT NULL,
        holder VARCHAR NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY (owner, holder, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS held ON holds (key)",
    # What is `fingerprint` here is called made_by there, as in stores of earlier releases.
    """CREATE TABLE IF NOT EXISTS sessions (
        owner VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        bot VARCHAR NOT NULL,
        made_by BLOB NOT NULL,
        head BLOB,
        created FLOAT NOT NULL,
        updated FLOAT NOT NULL,
        PRIMARY KEY (owner, name)
    )""",
    """CREATE TABLE IF NOT EXISTS keys (
        id VARCHAR NOT NULL PRIMARY KEY,
        name VARCHAR NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        per_minute INTEGER,
        created FLOAT NOT NULL,
        revoked FLOAT
    )""",
    # How much of its minute a key has left, for processes that count together.
    """CREATE TABLE IF NOT EXISTS rates (
        id VARCHAR NOT NULL PRIMARY KEY,
        tokens FLOAT NOT NULL,
        at FLOAT NOT NULL
    )""",
    # What is `fingerprint` here is called made_by there, as in stores of earlier releases.
    """CREATE TABLE IF NOT EXISTS responses (
        id VARCHAR NOT NULL PRIMARY KEY,
        owner VARCHAR NOT NULL,
        chat VARCHAR NOT NULL,
        previous VARCHAR,
        model VARCHAR NOT NULL,
        made_by BLOB NOT NULL,
        key BLOB NOT NULL,
        messages INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        input TEXT NOT NULL,
        output TEXT NOT NULL,
        status VARCHAR NOT NULL,
        read INTEGER NOT NULL,
        said INTEGER NOT NULL,
        asked_for JSON NOT NULL,
        created_at FLOAT NOT NULL,
        completed_at FLOAT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS of_chat ON responses (owner, chat, created_at)",
    """CREATE TABLE IF NOT EXISTS feedback (
        owner VARCHAR NOT NULL,
        response_id VARCHAR NOT NULL,
        rating VARCHAR,
        instead TEXT,
        created_at FLOAT NOT NULL,
        PRIMARY KEY (owner, response_id)
    )""",
)
"""Make all tables and indexes where there are none."""
