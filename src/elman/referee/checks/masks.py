"""Several sequences in one batch: resets within rows, and rows of different length."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.referee.numbers import error_of, first_step, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject, leaves

KEEP_NAMES = ("keep", "not_done", "continues")
"""Arguments that are 0 where a row starts again."""
RESET_NAMES = ("reset", "resets", "done", "dones", "is_init", "is_first", "starts", "start")
"""Arguments that are 1 where a row starts again."""
MASK_STEPS, AT = 12, 5


def resets(subject: Subject) -> list[Fault]:
    """Check that a row that starts again goes on as a sequence of its own, and the others on."""
    name = next((n for n in subject.masks if n in KEEP_NAMES + RESET_NAMES), None)
    if name is None:
        raise NotChecked(f"no argument is called {', '.join(KEEP_NAMES[:1] + RESET_NAMES[:4])} ...")
    x = subject.x(MASK_STEPS).requires_grad_()
    mask = torch.zeros(MASK_STEPS, 2, dtype=torch.float64)
    mask[AT, 0] = 1
    mask = 1 - mask if name in KEEP_NAMES else mask
    made = mask.transpose(0, 1) if subject.batch_first else mask
    outputs = subject.run(x, **{name: made})[0]
    with torch.no_grad():
        plain = subject.run(x)[0]
        fresh = subject.run(x[AT:])[0]
    value = int(name in RESET_NAMES)
    shape = "(2, 12)" if subject.batch_first else "(12, 2)"
    index = f"0, {AT}" if subject.batch_first else f"{AT}, 0"
    lines = (
        f"m = torch.full({shape}, {1 - value}.0, dtype=torch.float64); m[{index}] = {value}",
        f"print(float((run(x, {name}=m)[0][{AT}:, 0] - run(x[{AT}:])[0][:, 0]).abs().max()))",
    )

    def fault(words: str, error: float, of: str = "") -> list[Fault]:
        line = f"print(float((run(x, {name}=m)[0] - run(x)[0])[{of}].abs().max()))"
        shown = (lines[0], line if of else lines[1])
        return [Fault("resets", words, error, subject.reproduction(*shown))]

    if (error := error_of(outputs[:, 1:], plain[:, 1:])) > subject.tolerance:
        return fault("a reset of one row changes the others", error, ":, 1")
    if (error := error_of(outputs[:AT, :1], plain[:AT, :1])) > subject.tolerance:
        return fault(f"a reset at step {AT} changes the steps before it", error, f":{AT}")
    error = error_of(outputs[AT:, :1], fresh[:, :1])
    if error > subject.tolerance:
        return fault(_what_is_left(subject, outputs, plain, x), error)
    if outputs.requires_grad:
        (grad,) = torch.autograd.grad(weighted_sum([outputs[AT:, 0]]), x)
        if grad[:AT].abs().max() > 0:
            words = f"the gradient passes a reset: what follows step {AT} reaches the steps before"
            grown = (
                lines[0],
                f"run(x, {name}=m)[0][{AT}:, 0].exp().sum().backward()",
                f"print(float(x.grad[:{AT}].abs().max()))",
            )
            error = float(grad[:AT].abs().max())
            return [Fault("resets", words, error, subject.reproduction(*grown))]
    return []


def _what_is_left(subject: Subject, outputs: Tensor, plain: Tensor, x: Tensor) -> str:
    if error_of(outputs[:, :1], plain[:, :1]) <= subject.tolerance:
        return f"a reset at step {AT} does nothing"
    with torch.no_grad():
        late = subject.run(x[AT + 1 :])[0]
    if error_of(outputs[AT + 1 :, :1], late[:, :1]) <= subject.tolerance:
        return f"a reset at step {AT} acts one step late, at step {AT + 1}"
    (grad,) = torch.autograd.grad(weighted_sum([outputs[AT:, 0]]), x)
    what = " (only a part of the state is forgotten)" if grad[:AT].abs().max() > 0 else ""
    return f"after a reset at step {AT} the row does not go on as a sequence of its own{what}"


def ragged(subject: Subject) -> list[Fault]:
    """Check that rows of different length are each as if alone, whatever the padding holds."""
    lengths = (9, 4, 6)
    x = subject.x(9, 3)
    if type(subject.layer) in (nn.RNN, nn.GRU, nn.LSTM):
        return _packed(subject, x, lengths)
    if "lengths" in subject.masks:
        return _by_lengths(subject, x, lengths)
    try:
        return _packed(subject, x, lengths)
    except Exception as error:  # whatever a stranger's code raises
        words = "it takes no packed sequences, and no argument is called lengths"
        raise NotChecked(words) from error


def _packed(subject: Subject, x: Tensor, lengths: tuple[int, ...]) -> list[Fault]:
    packed = pack_padded_sequence(x, list(lengths), enforce_sorted=False)
    with torch.no_grad():
        outputs, after = subject.run(packed)
    if not isinstance(outputs, PackedSequence):
        raise NotChecked("it takes no packed sequences")
    padded, _ = pad_packed_sequence(outputs)
    lines = (
        "from torch.nn.utils.rnn import pack_padded_sequence as pack, pad_packed_sequence as pad",
        "out = pad(run(pack(x, [12, 5]))[0])[0]",
        "print(float((out[:5, 1:] - run(x[:5, 1:])[0]).abs().max()))",
    )
    return _each_alone(subject, x, lengths, padded, after, lines)


def _by_lengths(subject: Subject, x: Tensor, lengths: tuple[int, ...]) -> list[Fault]:
    with torch.no_grad():
        outputs, after = subject.run(x, lengths=torch.tensor(lengths))
    lines = (
        "both, alone = run(x, lengths=torch.tensor([5, 5])), run(x[:5])",
        "from elman.referee import distance",
        "print(float((both[0][:5] - alone[0]).abs().max()) + distance(both[1], alone[1]))",
    )
    return _each_alone(subject, x, lengths, outputs, after, lines)


def _each_alone(
    subject: Subject,
    x: Tensor,
    lengths: tuple[int, ...],
    outputs: Tensor,
    after: Any,
    lines: tuple[str, ...],
) -> list[Fault]:
    for row, length in enumerate(lengths):
        with torch.no_grad():
            alone, own = subject.run(x[:length, row : row + 1])
        error = error_of(outputs[:length, row : row + 1], alone)
        if error > subject.tolerance:
            step = first_step(outputs[:length, row : row + 1], alone, subject.tolerance)
            words = (
                f"among rows of {lengths} steps, the one of {length} gives other outputs than "
                f"alone, from step {step} on"
            )
            return [Fault("ragged", words, error, subject.reproduction(*lines))]
        for part, right in zip(leaves(after), leaves(own), strict=False):
            dims = [
                d
                for d in range(part.dim())
                if part.shape[d] == len(lengths) and right.shape[d] == 1
            ]
            if not dims:
                continue
            error = error_of(part.narrow(dims[0], row, 1), right)
            if error > subject.tolerance:
                words = (
                    f"among rows of {lengths} steps, the last state of the one of {length} is not "
                    "that of its last step: padding has run on in it"
                )
                return [Fault("ragged", words, error, subject.reproduction(*lines))]
    return []
