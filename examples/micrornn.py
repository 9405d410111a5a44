"""A chatbot in plain Python, taught by backpropagation through time. Read it from top to bottom.

It reads a conversation one character at a time and keeps what it read in `h`, a list of numbers:

    h[t]      = tanh(W_xh[x[t]] + W_hh h[t-1] + b_h)     the state after character t
    p[t]      = softmax(W_hy h[t] + b_y)                 how likely each character is to come next
    loss      = -log p[t][x[t+1]], summed over the characters that the bot should say

For learning, the loop over t is unfolded: a copy of the network for each character. The loss
reaches h[t] directly, through p[t], and indirectly, through h[t+1], which was made of h[t].
So the backward pass walks from the last character to the first and adds both.
"""

import math
import random

USER_END, BOT_END = "\n", "\t"  # who said a message is told by the character that ends it
CONVERSATIONS = [
    [("hi", "who are you?"), (f"i am {name}", "hi!"), ("who am i?", name),
     (f"i like {drink}", "me too"), ("what do i like?", drink)]
    for name in ("ann", "bob", "eve") for drink in ("tea", "milk")
]  # fmt: skip
SPOKEN = sorted({c for chat in CONVERSATIONS for pair in chat for text in pair for c in text})
CHARACTERS = [*SPOKEN, USER_END, BOT_END]


def encode(chat):
    """Return a conversation's characters as numbers, and which of them the bot should say."""
    ids, said_by_bot = [], []
    for user, bot in chat:
        for text, by_bot in ((user + USER_END, False), (bot + BOT_END, True)):
            ids += [CHARACTERS.index(c) for c in text]
            said_by_bot += [by_bot] * len(text)
    return ids, said_by_bot


def new_weights(vocabulary_size, hidden_size, rng):
    """Draw small random weights: a list of rows for each matrix, one row for each bias."""
    v, h, bound = vocabulary_size, hidden_size, 1 / math.sqrt(hidden_size)
    shapes = {"W_xh": (v, h), "W_hh": (h, h), "b_h": (1, h), "W_hy": (v, h), "b_y": (1, v)}
    return {
        name: [[rng.uniform(-bound, bound) for _ in range(size)] for _ in range(rows)]
        for name, (rows, size) in shapes.items()
    }


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def add(to, values, times=1.0):
    to[:] = [x + times * y for x, y in zip(to, values)]


def step(w, h, x):
    """Read one character: return the next state."""
    terms = zip(w["W_xh"][x], w["W_hh"], w["b_h"][0])
    return [math.tanh(from_x + dot(row, h) + b) for from_x, row, b in terms]


def next_probabilities(w, h, temperature=1.0):
    """Return how likely each character is to come next."""
    logits = [(dot(row, h) + b) / temperature for row, b in zip(w["W_hy"], w["b_y"][0])]
    e = [math.exp(logit - max(logits)) for logit in logits]  # less the highest: no overflow
    return [one / sum(e) for one in e]


def backpropagate(w, ids, said_by_bot, unfold=None):
    """Return the loss, the gradient of every weight, and both parts of every state's gradient.

    With `unfold`, what goes back is cut at every `unfold`-th step, as in truncated BPTT.
    """
    hs, ps = [[0.0] * len(w["W_hh"])], []
    for x in ids[:-1]:  # forward: hs[t + 1] is the state after character t
        hs.append(step(w, hs[-1], x))
        ps.append(next_probabilities(w, hs[-1]))
    gradient = {name: [[0.0] * len(row) for row in rows] for name, rows in w.items()}
    loss, parts, indirect = 0.0, [], [0.0] * len(hs[0])
    for t in reversed(range(len(ps))):  # backward
        h, h_before, target = hs[t + 1], hs[t], ids[t + 1]
        direct = [0.0] * len(h)
        if said_by_bot[t + 1]:
            loss -= math.log(ps[t][target])
            for y, p in enumerate(ps[t]):
                d_logit = p - (y == target)  # the gradient of softmax and -log together
                direct = [d + d_logit * v for d, v in zip(direct, w["W_hy"][y])]
                add(gradient["W_hy"][y], h, d_logit)
                gradient["b_y"][0][y] += d_logit
        parts.append((t, direct, indirect))
        # Through tanh, whose slope is 1 - h * h, to what was added up inside it.
        d_sum = [(d + i) * (1 - v * v) for d, i, v in zip(direct, indirect, h)]
        add(gradient["W_xh"][ids[t]], d_sum)
        add(gradient["b_h"][0], d_sum)
        for row, d in zip(gradient["W_hh"], d_sum):
            add(row, h_before, d)
        indirect = [dot(column, d_sum) for column in zip(*w["W_hh"])]  # to the step before
        if unfold and t % unfold == 0:
            indirect = [0.0] * len(h)
    return loss, gradient, parts[::-1]


def adam(w, gradient, memory, count, lr=0.01, clip=1.0):
    """Update the weights once; a gradient longer than `clip` is shortened to it first."""
    norm = math.sqrt(sum(dot(row, row) for rows in gradient.values() for row in rows))
    shorter = min(1.0, clip / (norm + 1e-12))
    for at in (
        (name, r, i) for name in w for r, row in enumerate(w[name]) for i in range(len(row))
    ):
        name, r, i = at
        g = gradient[name][r][i] * shorter
        m, v = memory.get(at, (0.0, 0.0))
        memory[at] = m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        m, v = m / (1 - 0.9**count), v / (1 - 0.99**count)
        w[name][r][i] -= lr * m / (math.sqrt(v) + 1e-8)


def reply(w, h, message, rng, temperature=0.3):
    """Read a message and answer it; return the answer and the state after it."""
    for c in [*message, USER_END]:
        h = step(w, h, CHARACTERS.index(c))
    said = ""
    while not said.endswith(BOT_END) and len(said) < 60:
        said += rng.choices(CHARACTERS, next_probabilities(w, h, temperature))[0]
        h = step(w, h, CHARACTERS.index(said[-1]))
    return said.rstrip(BOT_END), h


def main(steps=400, hidden_size=32):
    rng, memory = random.Random(1), {}
    w = new_weights(len(CHARACTERS), hidden_size, rng)
    for count in range(1, steps + 1):
        ids, said_by_bot = encode(rng.choice(CONVERSATIONS))
        loss, gradient, parts = backpropagate(w, ids, said_by_bot)
        adam(w, gradient, memory, count, lr=0.01 * (1 - count / (steps + 1)))
        if count % 20 == 0:
            print(f"step {count}: {loss / sum(said_by_bot):.3f} nats a character")
    print("Say hi. Type 'parts' to see what the last lesson sent back to each state.")
    h = [0.0] * hidden_size
    while line := input("you> "):
        if line == "parts":
            for t, *both in parts:
                sizes = [math.sqrt(dot(part, part)) for part in both]
                print("{!r:5} direct {:.4f}  indirect {:.4f}".format(CHARACTERS[ids[t]], *sizes))
            continue
        answer, h = reply(w, h, [c for c in line.lower() if c in SPOKEN], rng)
        print("bot>", answer)


if __name__ == "__main__":
    main()
