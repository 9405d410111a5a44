"""What else one could train on conversations: the peers of minutes.py, each as its package has it.

A peer is a network from token ids, (T, B), to what its output layer makes logits of, (T, B, H), and
what it carries to the next window. Trials are the settings of its search.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.data.tokenizer import MIN_VOCABULARY_SIZE

State = Any


class Network(nn.Module):
    """An embedding, tied to the output layer, and something between.

    Args:
        block: tokens that are predicted from each other at most; None: state is carried instead.
    """

    block: int | None = None

    def __init__(self, vocabulary: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.norm = nn.LayerNorm(size)

    def forward(self, ids: Tensor, state: State = None) -> tuple[Tensor, State]:
        x, state = self.run(self.embedding(ids), state)
        return self.norm(x.float()), state

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embedding.weight, self.bias)


class PlainLSTM(Network):
    """One torch.nn.LSTM, as in a tutorial."""

    def __init__(self, vocabulary: int, size: int, layers: int = 1) -> None:
        super().__init__(vocabulary, size)
        self.lstm = nn.LSTM(size, size, layers)

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x, state = self.lstm(x, state)
        return x, tuple(part.detach() for part in state)


class ResidualLSTM(Network):
    """torch.nn.LSTMs in residual pre-norm blocks."""

    def __init__(self, vocabulary: int, size: int, layers: int = 2) -> None:
        super().__init__(vocabulary, size)
        self.layers = nn.ModuleList(nn.LSTM(size, size) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers))

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after = []
        for n, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            h, new = layer(norm(x), None if state is None else state[n])
            x = x + h
            after.append(tuple(part.detach() for part in new))
        return x, after


class Transformer(Network):
    """x-transformers' decoder with rotary positions and SwiGLU: a nanoGPT of today."""

    def __init__(self, vocabulary: int, size: int, layers: int = 4, block: int = 128) -> None:
        from x_transformers import Decoder

        super().__init__(vocabulary, size)
        self.block = block
        self.decoder = Decoder(
            dim=size,
            depth=layers,
            heads=max(1, size // 64),
            attn_dim_head=64,
            attn_flash=True,
            rotary_pos_emb=True,
            ff_glu=True,
            ff_swish=True,
            ff_no_bias=True,
        )

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.decoder(x.transpose(0, 1)).transpose(0, 1), None


class MinGRU(Network):
    """minGRU-pytorch's layers with feed-forward layers between them, as its author's model has."""

    def __init__(self, vocabulary: int, size: int, layers: int = 4) -> None:
        from minGRU_pytorch import minGRU

        super().__init__(vocabulary, size)
        self.layers = nn.ModuleList(minGRU(size) for _ in range(layers))
        self.norms = nn.ModuleList(nn.RMSNorm(size) for _ in range(2 * layers))
        self.feeds = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
            for _ in range(layers)
        )

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x, after = x.transpose(0, 1), []
        for n, (layer, feed) in enumerate(zip(self.layers, self.feeds, strict=True)):
            with torch.autocast("cpu", enabled=False):  # its scan is of logarithms
                given = None if state is None else state[n]
                h, new = layer(self.norms[2 * n](x.float()), given, return_next_prev_hidden=True)
            x = x + h
            x = x + feed(self.norms[2 * n + 1](x))
            after.append(new.detach())
        return x.transpose(0, 1), after


class XLSTM(Network):
    """xlstm's block stack of mLSTM layers: its sLSTM has no fast path on a CPU."""

    def __init__(self, vocabulary: int, size: int, layers: int = 3, block: int = 128) -> None:
        from xlstm import (
            mLSTMBlockConfig,
            mLSTMLayerConfig,
            xLSTMBlockStack,
            xLSTMBlockStackConfig,
        )

        super().__init__(vocabulary, size)
        self.block = block
        layer = mLSTMLayerConfig(conv1d_kernel_size=4, qkv_proj_blocksize=4, num_heads=4)
        config = xLSTMBlockStackConfig(
            mlstm_block=mLSTMBlockConfig(mlstm=layer),
            context_length=block,
            num_blocks=layers,
            embedding_dim=size,
            slstm_at=[],
        )
        self.stack = xLSTMBlockStack(config)

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.stack(x.transpose(0, 1)).transpose(0, 1), None


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    Args:
        title: what it is, with the package.
        make: a network, of a vocabulary and the trial's `network`.
        vocabulary: of its tokenizer.
        low: whether its products are taken in bfloat16 where that is faster.
        trials: settings to search; each may have `network`, `lr`, `lanes`, `window`.
    """

    title: str
    make: Callable[..., Network]
    vocabulary: int
    low: bool
    trials: tuple[dict[str, Any], ...]


def _trial(size: int, lr: float, lanes: int = 16, window: int = 64, **more: Any) -> dict[str, Any]:
    return {"network": {"size": size, **more}, "lr": lr, "lanes": lanes, "window": window}


PEERS = {
    "lstm-bytes": Peer(
        "torch.nn.LSTM + AdamW on bytes",
        PlainLSTM,
        MIN_VOCABULARY_SIZE,
        False,
        (_trial(384, 3e-3), _trial(384, 6e-3), _trial(256, 6e-3)),
    ),
    "lstm-residual": Peer(
        "residual torch.nn.LSTM, BPE, bfloat16",
        ResidualLSTM,
        4096,
        True,
        (_trial(384, 3e-3), _trial(384, 5e-3), _trial(256, 3e-3)),
    ),
    "transformer": Peer(
        "Transformer (x-transformers), BPE",
        Transformer,
        4096,
        True,
        (
            _trial(192, 3e-3, 16, 64, layers=4, block=64),
            _trial(192, 1.5e-3, 8, 128, layers=4, block=128),
            _trial(256, 1.5e-3, 16, 64, layers=4, block=64),
        ),
    ),
    "mingru": Peer(
        "minGRU (minGRU-pytorch), BPE",
        MinGRU,
        4096,
        True,
        (
            _trial(256, 3e-3, layers=3),
            _trial(384, 3e-3, layers=3),
            _trial(256, 5e-3, layers=2),
        ),
    ),
    "xlstm": Peer(
        "mLSTM (xlstm), BPE",
        XLSTM,
        4096,
        True,
        (
            _trial(192, 3e-3, 16, 64, layers=3, block=64),
            _trial(256, 2e-3, 16, 64, layers=2, block=64),
            _trial(192, 1.5e-3, 8, 128, layers=3, block=128),
        ),
    ),
}
