"""Rows of different lengths side by side: layers that run over them, a pointer that reads them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import State, Unfold
from elman.model.blocks import MAX_RUN_STEPS, RecurrentStack
from elman.model.packing import predicted_places, token_ids
from elman.model.pointer import Pointed, Pointer, TokenRecord


def ragged(
    stack: RecurrentStack, x: Sequence[Tensor], state: State, unfold: Unfold | None = None
) -> tuple[list[Tensor], State]:
    """Run rows of different lengths, each only as far as it goes, so that nothing is padded.

    Args:
        stack: the layers.
        x: one (T_i, H) tensor for each row; a row of no steps keeps its state.
        state: of each row before its first step.
        unfold: how the layers are differentiated.

    Returns:
        One (T_i, H) tensor for each row, and the state of each row after its last step.
    """
    lengths = torch.tensor([len(own) for own in x])
    order = torch.argsort(lengths, descending=True, stable=True)
    padded = nn.utils.rnn.pad_sequence([x[i] for i in order.tolist()])
    state = tuple(tensor[order] for tensor in state)
    ends = lengths[order]
    longest = int(ends[0])
    # Rows end in the reverse of this order, so that those that go on are always the first rows.
    outputs, finals = [], []
    begin, rows = 0, len(x)
    for end in sorted({*lengths.tolist(), *range(MAX_RUN_STEPS, longest, MAX_RUN_STEPS)}):
        active = int((ends >= end).sum())
        finals.append(tuple(tensor[active:rows] for tensor in state))
        state = tuple(tensor[:active] for tensor in state)
        if end > begin:
            hidden, state = stack(padded[begin:end, :active], state, unfold=unfold)
            outputs.append(F.pad(hidden, (0, 0, 0, len(x) - active)))
        begin, rows = end, active
    finals.append(state)
    back = torch.argsort(order)
    final = tuple(torch.cat(parts[::-1])[back] for parts in zip(*finals, strict=True))
    hidden = torch.cat(outputs) if outputs else padded
    return [hidden[: len(own), int(row)] for own, row in zip(x, back, strict=True)], final


def record_ragged(
    pointer: Pointer,
    tokens: Sequence[Tensor],
    hidden: Sequence[Tensor],
    state: State,
    kept: Sequence[int] | None = None,
) -> tuple[TokenRecord, State]:
    """Write down what each row has read.

    Args:
        pointer: whose record it is.
        tokens: of each row, (T_i,).
        hidden: what the key of each is made of, (T_i, H).
        state: the pointer's, of each row before.
        kept: after how many tokens of each row to take the state; None: after all.

    Returns:
        The record of all, padded at the end, and the state.
    """
    lengths = torch.tensor([len(own) for own in tokens] if kept is None else list(kept))
    ids, states = (nn.utils.rnn.pad_sequence(list(each)) for each in (tokens, hidden))
    return pointer.record(ids, states, state, lengths=lengths.long())


def point_ragged(
    pointer: Pointer, seen: TokenRecord, hidden: Tensor, steps: Sequence[Tensor]
) -> tuple[Tensor, Pointed]:
    """Point from some steps of each row at what it has read, for the token after each.

    Args:
        pointer: whose record it is.
        seen: as `record_ragged` gives it.
        hidden: what is predicted from at these steps, one row after another, (K, H).
        steps: of each row, (K_i,).

    Returns:
        What the vocabulary's logits are made of, (K, H), and what is pointed at, (K,) tensors.
    """
    ids = seen.ids[:, pointer.length :].t()
    at = torch.cat([own * len(steps) + row for row, own in enumerate(steps)])
    queries = hidden.new_zeros(ids.numel(), hidden.shape[1]).index_copy(0, at, hidden)
    told, pointed = pointer.point(seen, queries.view(*ids.shape, -1)[:-1], ids[1:])
    return told.flatten(0, 1)[at], Pointed(*(each.flatten() for each in pointed)).at(at)


def record_messages(
    pointer: Pointer,
    rows: Sequence[Sequence[np.ndarray]],
    encoded: Sequence[Tensor],
    state: State,
    kept: Sequence[int] | None = None,
) -> tuple[TokenRecord, State]:
    """Write down the messages that each row has read, as `record_ragged` does tokens.

    Args:
        pointer: whose record it is.
        rows: the messages of each.
        encoded: what the keys of each message's tokens are made of, one row after another.
        state: the pointer's, of each row before.
        kept: after how many messages of each row to take the state; None: after all.
    """
    hidden = torch.cat(list(encoded)).split([sum(map(len, own)) for own in rows])
    counts = [len(own) for own in rows] if kept is None else kept
    lengths = [sum(map(len, own[:count])) for own, count in zip(rows, counts, strict=True)]
    return record_ragged(pointer, [token_ids(own) for own in rows], hidden, state, lengths)


def point_messages(
    pointer: Pointer,
    rows: Sequence[Sequence[np.ndarray]],
    said: Sequence[Sequence[bool]],
    hidden: Tensor,
    seen: TokenRecord,
) -> tuple[Tensor, Pointed]:
    """Point from the messages that are said at what each row has read, as `point_ragged` does.

    Args:
        pointer: whose record it is.
        rows: the messages of each.
        said: which of them are predicted.
        hidden: what their text and END are predicted from, one row after another, (K, H).
        seen: as `record_messages` gives it.
    """
    steps = [predicted_places(own, which) - 1 for own, which in zip(rows, said, strict=True)]
    return point_ragged(pointer, seen, hidden, steps)
