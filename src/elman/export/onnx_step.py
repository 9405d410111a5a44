"""One step of a bot as an ONNX model: what `runtime/reference.py` computes in numpy.

    (token, state) -> (logits, next_state)

A state is one array, (B, S): the parts of `Weights.state_spec` side by side. So there is one thing
to carry on, and no part of it can be forgotten.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from elman.data.tokenizer import END
from elman.export.onnx_graph import OnnxGraph
from elman.export.onnx_layers import step
from elman.export.onnx_pointer import logits, mixed, record
from elman.runtime.weights import Weights

TOKEN, STATE, LOGITS, NEXT_STATE = "token", "state", "logits", "next_state"


def step_model(weights: Weights) -> tuple[onnx.ModelProto, set[str]]:
    """Make the model of one step.

    Args:
        weights: of the bot.

    Returns:
        The model, and the names of the bot's arrays that are in it.
    """
    g, config = OnnxGraph(weights), weights.config
    sizes = [size for _, size in weights.state_spec()]
    parts = g.split(STATE, sizes)
    count = len(parts) - (3 if config.pointer else 0)
    layers, before = parts[:count], parts[count:]
    x = g("Gather", g.weight("embedding.weight"), TOKEN)
    read_token = _read_for_tokens if config.memory == "tokens" else _read_for_messages
    hidden, read, layers = read_token(g, weights, x, layers)
    if config.pointer:
        after = record(g, TOKEN, read, before)
        found = mixed(g, config, hidden, after, g.columns(before[0], 0, 1))
        layers += after
    else:
        found = logits(g, hidden)
    g.name(found, LOGITS)
    g.name(g("Concat", *layers, axis=1), NEXT_STATE)
    inputs = _values(
        {TOKEN: (TensorProto.INT32, ["B"]), STATE: (TensorProto.FLOAT, ["B", sum(sizes)])}
    )
    outputs = _values(
        {
            LOGITS: (TensorProto.FLOAT, ["B", weights.vocabulary_size]),
            NEXT_STATE: (TensorProto.FLOAT, ["B", sum(sizes)]),
        }
    )
    return g.model("elman_step", inputs, outputs), g.used


def _values(kinds: dict[str, tuple[int, list[str | int]]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]


def _read_for_tokens(
    g: OnnxGraph, weights: Weights, x: str, state: list[str]
) -> tuple[str, str, list[str]]:
    """Read a token: what the next is predicted from, what its key is made of, and the state."""
    hidden, state = step(g, "stack", weights.stacks["stack"], x, state)
    return hidden, hidden, state


def _read_for_messages(
    g: OnnxGraph, weights: Weights, x: str, state: list[str]
) -> tuple[str, str, list[str]]:
    stacks, config = weights.stacks, weights.config
    a = stacks["conversation"].states
    b = a + 1 + stacks["encoder"].states
    conversation, context, encoder = state[:a], state[a], state[a + 1 : b]
    decoder, count = state[b:-1], state[-1]
    ends = g("Unsqueeze", g("Equal", TOKEN, g.constant(END, np.int32)), g.numbers(1))
    reads = g("Or", ends, g("Less", count, g.constant(config.max_message_tokens - 1)))
    zero = g.constant(0)
    vector, read = step(g, "encoder", stacks["encoder"], x, encoder)
    encoder = [g("Where", reads, new, old) for new, old in zip(read, encoder, strict=True)]
    share = g("Div", g.weight("context.weight"), g.constant(config.hidden_size))
    told = g("Gemm", context, share, transB=1)
    hidden, decoder = step(g, "decoder", stacks["decoder"], g("Add", x, told), decoder)
    output, after = step(g, "conversation", stacks["conversation"], vector, conversation)
    conversation = [
        g("Where", ends, new, old) for new, old in zip(after, conversation, strict=True)
    ]
    context = g("Where", ends, output, context)
    begun = [*encoder, *decoder, g("Add", count, g.constant(1))]
    state = [*conversation, context, *(g("Where", ends, zero, each) for each in begun)]
    return hidden, g("Where", reads, vector, zero), state
