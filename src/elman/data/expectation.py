"""What to hope for from so much text, said before anybody trains."""

from math import log

# Bytes of conversations, and the held-out bits per byte of a bot trained on them until it gained
# nothing more: printed by benchmarks/data_size.py, from growing parts of the built-in data.
MEASURED: tuple[tuple[int, float], ...] = (
    (20_000, 4.40),
    (60_000, 3.13),
    (200_000, 2.41),
    (600_000, 2.03),
    (2_000_000, 1.84),
    (8_000_000, 1.64),
)

# What the replies of those bots read like, below so many bytes.
LEVELS = (
    (100_000, "will echo phrases"),
    (700_000, "will have the tone, and often make little sense"),
    (2_000_000, "will make small talk, in short replies"),
    (10**18, "will hold small talk"),
)


def hope(who: str, messages: int, size: int) -> str:
    """Say what a bot of somebody will be like.

    Args:
        who: whose messages are learned to be said.
        messages: how many.
        size: their text, in bytes.
    """
    level = next(text for limit, text in LEVELS if size < limit)
    plural = "" if messages == 1 else "s"
    return f"{who}: {messages:,} message{plural}, {human(size)}: a bot {level}"


def basis(size: int) -> str:
    """Say how well text like this will be predicted, and how that is known.

    Args:
        size: text of all conversations, in bytes.
    """
    known = ", ".join(f"{bits:.1f} from {human(at)}" for at, bits in MEASURED[1::2])
    return (
        f"from {human(LEVELS[-2][0])} on it would hold small talk; with all {human(size)}, about "
        f"{bits_for(size):.1f} bits per byte of what it has not seen (growing parts of the "
        f"built-in conversations gave {known})"
    )


def bits_for(size: int) -> float:
    """Estimate the held-out bits per byte from so many bytes.

    The nearest measured sizes are blended over the logarithm.
    """
    below = [point for point in MEASURED if point[0] <= size]
    above = [point for point in MEASURED if point[0] > size]
    if not below:
        return MEASURED[0][1]
    if not above:
        return MEASURED[-1][1]
    (low, high_bits), (high, low_bits) = below[-1], above[0]
    share = log(size / low) / log(high / low)
    return high_bits + share * (low_bits - high_bits)


def human(size: int) -> str:
    """Write bytes as people read them."""
    if size < 1000:
        return f"{size:,} bytes"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"
