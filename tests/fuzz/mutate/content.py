"""Changes of bytes, which know nothing of a format."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

EDGES = (
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 1023, 1024, 4095, 4096, 16383,
    16384, 16385, 32767, 32768, 65535, 65536, 100_000, 2**20, 2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1
)  # fmt: skip
"""Integers at which programs go wrong."""

_LONGEST = 1 << 22  # inputs do not grow beyond it


def edge(random: Random, bits: int) -> int:
    """Return an integer of so many bits, near an edge as a rule."""
    if random.random() < 0.3:
        return random.getrandbits(bits)
    return (random.choice(EDGES) + random.choice((0, 0, 0, -1, 1))) % (1 << bits)


def few(random: Random, most: int = 8) -> int:
    """Return a number from 1 to `most`, more often a small one."""
    return min(most, 1 + int(random.expovariate(0.7)))


def mutated(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with a few changes.

    Args:
        content: the bytes.
        random: decides.
        others: bytes that parts are taken from.
    """
    changed = bytearray(content)
    for _ in range(few(random)):
        random.choice(_CHANGES)(changed, random)
        if others and random.random() < 0.05:
            _splice(changed, random.choice(others), random)
    return bytes(changed)


def _span(changed: bytearray, random: Random) -> slice:
    at = random.randrange(len(changed) + 1)
    return slice(at, at + min(few(random, 64) ** 2, len(changed) - at))


def _flip(changed: bytearray, random: Random) -> None:
    if changed:
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)


def _set(changed: bytearray, random: Random) -> None:
    if changed:
        changed[random.randrange(len(changed))] = random.choice(
            (0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF, random.getrandbits(8))
        )


def _integer(changed: bytearray, random: Random) -> None:
    """Write an integer over what may be a length, a count or an offset."""
    size = random.choice((1, 2, 2, 4, 4, 4, 8))
    if len(changed) >= size:
        at = random.randrange(len(changed) - size + 1)
        order: Literal["little", "big"] = random.choice(("little", "big"))
        value = edge(random, 8 * size)
        if random.random() < 0.3:  # one near the one that is there, or near what follows
            known = int.from_bytes(changed[at : at + size], order)
            value = (random.choice((known, len(changed), len(changed) - at)) + random.randint(-8, 8)) % (1 << 8 * size)
        changed[at : at + size] = value.to_bytes(size, order)


def _cut(changed: bytearray, random: Random) -> None:
    del changed[random.randrange(len(changed) + 1) :]


def _remove(changed: bytearray, random: Random) -> None:
    del changed[_span(changed, random)]


def _insert(changed: bytearray, random: Random) -> None:
    at = random.randrange(len(changed) + 1)
    changed[at:at] = random.randbytes(few(random, 64))


def _repeat(changed: bytearray, random: Random) -> None:
    span = _span(changed, random)
    times = random.choice((1, 1, 2, 16, 1024))
    if len(changed) + (span.stop - span.start) * times < _LONGEST:
        changed[span.start : span.start] = changed[span] * times


def _fill(changed: bytearray, random: Random) -> None:
    span = _span(changed, random)
    changed[span] = bytes([random.choice((0, 0x20, 0xFF, random.getrandbits(8)))]) * (span.stop - span.start)


def _splice(changed: bytearray, other: bytes, random: Random) -> None:
    """Put a part of other bytes where a part of these was."""
    begin = random.randrange(len(other) + 1)
    part = other[begin : begin + few(random, 32) ** 2]
    changed[_span(changed, random)] = part


_CHANGES = (_flip, _flip, _set, _set, _integer, _integer, _integer, _remove, _insert, _repeat, _fill, _cut)
