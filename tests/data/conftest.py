"""What the tests of several readers share."""

from collections.abc import Callable

import pytest

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import FolderReader
from elman.data.readers.registry import READERS, find_reader

LoadChat = Callable[..., tuple[list[Message], Notes]]


@pytest.fixture(scope="session")
def load_chat(tmp_path_factory: pytest.TempPathFactory) -> LoadChat:
    """Read the one chat of a text, given the name of its format and of the chat."""
    path = tmp_path_factory.mktemp("chat") / "talk"

    def load(text: str, kind: str, chat_id: str, name: str = "talk") -> tuple[list[Message], Notes]:
        path.write_bytes(text.encode())
        document, notes = Document(name, path), Notes()
        reader = find_reader(document)
        assert reader is READERS[kind]
        if isinstance(reader, FolderReader):
            [chat] = reader.read([document], notes)
        else:
            [chat] = reader.read(document, notes)
        assert isinstance(chat, Chat)
        assert chat.id == chat_id
        return list(chat.messages), notes

    return load
