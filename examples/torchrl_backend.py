"""Elman's layers as the recurrent backend of TorchRL: `LSTMModule` and `GRUModule`, run faster.

    module = ElmanLSTMModule(input_size=256, hidden_size=256, in_key="observation",
                             out_key="features", default_recurrent_mode=True)

They are TorchRL's own modules, with the same arguments, keys and weights. A collector's single
steps go on as before. A whole batch, (rows, steps), runs through Elman's loop, which forgets the
state where `is_init` says so: nothing is split, padded, or run step by step in Python.

Two things differ from TorchRL:
- Of the states that it writes, each row's last one alone is filled in; the others are zero. So do
  TorchRL's states at all steps but those that end an episode.
- The state at a reset inside a row must be zero, as TorchRL's primers make it.
"""

import torch
from torch.func import functional_call
from torchrl.modules import GRUModule, LSTMModule

import elman


class _ElmanModule:
    """The whole batch of either module, by a layer of Elman that has no weights of its own."""

    def forward(self, tensordict):
        if not self.recurrent_mode:
            return super().forward(tensordict)
        rows = tensordict.unsqueeze(0) if tensordict.ndim == 1 else tensordict
        rows = rows.flatten(0, -2) if rows.ndim > 2 else rows
        input_key, *state_keys = [key for key in self.in_keys if key != "is_init"]
        x, is_init = rows[input_key], rows["is_init"].squeeze(-1)
        keep = ~is_init
        keep[:, 0] = True  # TorchRL goes on from the state that is given there
        states = [rows.get(key, None) for key in state_keys]
        given = [state for state in states if state is not None]
        if given and len(given) < len(states):
            raise RuntimeError(f"expected all of {state_keys}, or none")
        if any(state[~keep].any() for state in given):
            raise ValueError("the state at a reset is not zero: Elman's layers begin with zeros")
        first = tuple(state[:, 0].transpose(0, 1).contiguous() for state in given)
        outputs, after = self._run(x, first, keep)
        results = [outputs]
        for state in after:
            every = x.new_zeros(*x.shape[:2], *state.transpose(0, 1).shape[1:])
            results.append(torch.cat([every[:, 1:], state.transpose(0, 1).unsqueeze(1)], 1))
        for key, result in zip(self.out_keys, results):
            tensordict.set(key, result.reshape(*tensordict.shape, *result.shape[2:]))
        return tensordict

    def _run(self, x, first, keep):
        """Run the layer with the weights of the module's own; return outputs and last states."""
        theirs = self.lstm if isinstance(self, LSTMModule) else self.gru
        kind = elman.LSTM if isinstance(self, LSTMModule) else elman.GRU
        if theirs.bidirectional or getattr(theirs, "proj_size", 0):
            raise NotImplementedError("bidirectional=True and proj_size are not offered")
        layer = kind(
            theirs.input_size, theirs.hidden_size, theirs.num_layers, theirs.bias,
            batch_first=True, dropout=theirs.dropout, device="meta",
        ).train(theirs.training)  # fmt: skip
        hx = None if not first else first if len(first) > 1 else first[0]
        weights = dict(theirs.named_parameters())
        outputs, after = functional_call(layer, weights, (x, hx), {"keep": keep})
        return outputs, after if isinstance(after, tuple) else (after,)


class ElmanLSTMModule(_ElmanModule, LSTMModule):
    """TorchRL's `LSTMModule`."""


class ElmanGRUModule(_ElmanModule, GRUModule):
    """TorchRL's `GRUModule`."""
