"""What each earlier message did for a reply: computed when somebody asks, never before."""

from threading import Lock

from elman.errors import ElmanError
from elman.lens.influence import receipts
from elman.serve.errors import ApiError
from elman.serve.records import Record
from elman.serve.response_bodies import Influence
from elman.serve.service import Service

_ONE = Lock()
"""One at a time: the weights are told for a while that no gradient is theirs."""

MOST = 20
"""Messages before the reply that are looked at, the last ones."""


def influence(service: Service, owner: str, record: Record) -> list[Influence] | None:
    """Receipts of a response; None where another bot has taken the name of the one that made it.

    Raises:
        ApiError: where the bot is gone, or a part of the conversation cannot be read again.
    """
    model = service.model(record.model)
    if record.made_by != model.made_by:
        return None
    memory = model.memory(service.store, owner)
    with service.store.reading() as connection:
        path = service.store.path(connection, owner, record.key)
    try:
        *asked, reply = [memory.ids(node) for node in path]
        with _ONE:
            found = receipts(model.bot, asked, reply, most=MOST)
    except ElmanError as error:
        raise ApiError(400, str(error), "why") from None
    # Instructions are read as a message, and are none of the conversation's.
    numbers = [n for n, node in enumerate(path) if node.role != "system"]
    return [
        Influence(
            message=numbers.index(each.message),
            nats=each.nats,
            gradient=each.gradient,
            copied=each.copied,
        )
        for each in found
        if each.message in numbers
    ]
