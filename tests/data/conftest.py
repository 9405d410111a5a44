"""What the tests of several readers share."""

from collections.abc import Callable

import pytest

from elman.data.conversation import Chat, Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers import Reading, read
from elman.data.readers.reader import FolderReader
from elman.data.readers.registry import READERS, find_reader

LoadChat = Callable[..., tuple[list[Message], Notes]]
LoadConversations = Callable[..., tuple[list[Conversation], Notes]]


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


@pytest.fixture(scope="session")
def load_conversations(tmp_path_factory: pytest.TempPathFactory) -> LoadConversations:
    """Read the conversations of a text, given the names of the formats that it may be in."""
    path = tmp_path_factory.mktemp("conversations") / "talk"

    def load(
        text: str | bytes, *kinds: str, gap: float | None = None
    ) -> tuple[list[Conversation], Notes]:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        document, notes = Document("talk", path), Notes()
        assert find_reader(document) in [READERS[kind] for kind in kinds]
        return list(read([document], notes, Reading(gap=gap))), notes

    return load


@pytest.fixture(scope="session")
def load_whatsapp(load_conversations: LoadConversations) -> LoadChat:
    """Read the messages of a chat of WhatsApp, cut where nobody spoke for a day."""

    def load(text: str) -> tuple[list[Message], Notes]:
        found, notes = load_conversations(text, "whatsapp", gap=86_400.0)
        return [message for each in found for message in each.messages], notes

    return load
