"""Processes that learn together, started by torchrun: who they are, and what passes between them.

Process 0 leads. It alone decides and writes; before each step it says what comes next, and the
others follow. So all make the same number of steps, whatever their rows hold, and none needs a
clock. Every process holds all weights and reads its own rows of the batch; see docs/training.md.

Gradients are summed in one all-reduce after the backward pass, where `DistributedDataParallel`
would begin during it. In a recurrent net that gains little: a layer's gradient is complete only
when its first time step has been differentiated, and that of the embedding, the largest, at the
very end. In return the sum is divided once, by the weight of the whole batch; a mean over
processes, as `DistributedDataParallel` takes, is another gradient where their weights differ.
"""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn

from elman.bptt import State
from elman.errors import ElmanError

MAX_SHOWN_CHARS = 40
"""Characters of a value that differs between processes."""


@dataclass(frozen=True)
class World:
    """The processes that learn together. A world of one does nothing, and costs nothing.

    Args:
        rank: this process's number, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def own_rows(self, batch_size: int) -> range:
        """Return this process's rows of a batch: neighbours, and as many as others', or one more.

        With fewer rows than processes, some have none.
        """
        begin, end = ((self.rank + n) * batch_size // self.size for n in (0, 1))
        return range(begin, end)

    def broadcast(self, content: bytes = b"") -> bytes:
        """Return to every process what process 0 passes."""
        if self.size == 1:
            return content
        length = torch.tensor([len(content)])
        with self._all_there():
            dist.broadcast(length, src=0)
            buffer = torch.empty(int(length), dtype=torch.uint8)
            if self.leads:
                buffer = _as_tensor(content)
            dist.broadcast(buffer, src=0)
        return buffer.numpy().tobytes()

    def broadcast_json(self, value: Any = None) -> Any:
        """Return to every process the JSON that process 0 passes."""
        return json.loads(self.broadcast(json.dumps(value).encode())) if self.size > 1 else value

    def broadcast_numbers(self, *numbers: float) -> list[float]:
        """Return to every process the numbers that process 0 passes; as many in each."""
        values = torch.tensor(numbers, dtype=torch.float64)
        with self._all_there():
            dist.broadcast(values, src=0)
        return list(values.tolist())

    def broadcast_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return to every process the tensors that process 0 passes."""
        content = b""
        if self.leads:
            content = save({name: each.detach().contiguous() for name, each in tensors.items()})
        return load(self.broadcast(content))

    def agree(self, what: str, mine: Mapping[str, Any]) -> None:
        """Check that all processes pass the same JSON.

        Raises:
            ElmanError: in all of them, with the first process that differs from process 0.
        """
        if self.size == 1:
            return
        lead, *others = (json.loads(each) for each in self._gather_bytes(_json_with_host(mine)))
        host, facts = lead
        for rank, (other_host, other) in enumerate(others, 1):
            if different := list(_differences(other, facts)):
                where = f"process {rank} on {other_host}", f"process 0 on {host}"
                told = "; ".join(f"{name}: {one} and {two}" for name, one, two in different[:3])
                raise ElmanError(
                    f"{where[0]} and {where[1]} have different {what}: {told}; give all of them "
                    "the same"
                )

    def sum_gradients(
        self, parameters: Iterable[nn.Parameter], weight: float, numbers: Sequence[float]
    ) -> list[float]:
        """Replace each gradient by that of the mean over the batch of all processes.

        Everything is summed in one all-reduce. A parameter that has no gradient in any process
        keeps none, so that its optimizer leaves it alone, as it does in one process.

        Args:
            parameters: with the gradients of the mean over this process's rows.
            weight: how much this process's mean weighs: its number of targets.
            numbers: are summed, too.

        Returns:
            The sums of `numbers`.
        """
        if self.size == 1:
            return list(numbers)
        every = [each for each in parameters if each.requires_grad]
        parts = [
            each.new_zeros(each.numel()) if each.grad is None else each.grad.flatten()
            for each in every
        ]
        own = [weight, *numbers, *(float(each.grad is not None) for each in every)]
        flat = torch.cat([torch.cat(parts).mul_(weight), parts[0].new_tensor(own)])
        with self._all_there():
            dist.all_reduce(flat)
        gradient, sums = flat[: -len(own)], flat[-len(own) :].tolist()
        gradient /= max(sums[0], 1)
        split = gradient.split([each.numel() for each in every])
        present = sums[1 + len(numbers) :]
        for each, part, count in zip(every, split, present, strict=True):
            each.grad = part.view_as(each) if count else None
        return list(sums[1 : 1 + len(numbers)])

    def gather_rows(self, tensors: State) -> State:
        """Return to every process the rows of all, in their order; each tensor is (rows, size)."""
        if self.size == 1 or not tensors:
            return tensors
        counts = [int(each) for each in self._gather(torch.tensor([len(tensors[0])]))]
        padding = max(counts) - len(tensors[0])
        whole = []
        for each in tensors:
            padded = torch.cat([each, each.new_zeros(padding, *each.shape[1:])])
            parts = self._gather(padded)
            whole.append(torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)]))
        return tuple(whole)

    def _gather_bytes(self, content: bytes) -> list[bytes]:
        lengths = [int(each) for each in self._gather(torch.tensor([len(content)]))]
        padded = _as_tensor(content.ljust(max(lengths), b"\0"))
        parts = self._gather(padded)
        return [part[:n].numpy().tobytes() for part, n in zip(parts, lengths, strict=True)]

    def _gather(self, tensor: Tensor) -> list[Tensor]:
        """Return to every process the tensors of all, each of one shape."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._all_there():
            dist.all_gather(parts, tensor)
        return parts

    @contextmanager
    def _all_there(self) -> Iterator[None]:
        """Raise ElmanError where another process has gone, or does not answer."""
        try:
            yield
        except RuntimeError as error:
            raise ElmanError(
                f"process {self.rank} lost another process of its run, which may have said why; "
                "the last checkpoint is kept, and torchrun --max-restarts goes on from it "
                f"({reason(error)})"
            ) from None


ALONE = World()
"""One process, which is all there is."""


def reason(error: Exception) -> str:
    """Return the first sentence of an error of torch's, without its place in their code."""
    first = str(error).strip().partition("\n")[0].partition(". ")[0]
    return first.rpartition(".cc:")[2].partition("] ")[2] if ".cc:" in first else first


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _json_with_host(mine: Mapping[str, Any]) -> bytes:
    return json.dumps([socket.gethostname(), mine]).encode()


def _differences(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the dotted name of each value that differs, and both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            below = f"{name}.{key}" if name else key
            yield from _differences(one.get(key), other.get(key), below)
    elif one != other:
        yield name, _short(one), _short(other)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
