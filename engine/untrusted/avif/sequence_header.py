"""The largest frame that an AV1 stream may have, as its sequence headers say (sections 5.3 and 5.5 of AV1's text)."""

from __future__ import annotations

from collections.abc import Iterator

_SEQUENCE_HEADER = 1
_LONGEST = 512  # bytes up to the sides: 32 operating points have some 400


def largest_frame(stream: memoryview, units: Iterator[int]) -> tuple[int, int]:
    """Return the width and the height of the largest frame of a stream, in pixels.

    Args:
        stream: of units.
        units: one for each that may be read, of all streams of a file.

    Raises:
        ValueError: the stream has no sequence header, or is damaged.
    """
    width = height = 0
    for payload in _sequence_headers(stream, units):
        sides = _sides(payload)
        width, height = max(width, sides[0]), max(height, sides[1])
    if not width:
        raise ValueError("a stream without a size")
    return width, height


def _sequence_headers(stream: memoryview, units: Iterator[int]) -> Iterator[memoryview]:
    at = 0
    for _ in units:
        if at >= len(stream):
            return
        header = stream[at]
        at += 2 if header & 4 else 1  # an extension
        length = len(stream) - at
        if header & 2:
            length, at = _leb128(stream, at)
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            yield stream[at : at + length]
        at += length
    raise ValueError("more units than a picture has")


def _leb128(stream: memoryview, at: int) -> tuple[int, int]:
    """Return a number of up to eight bytes, and where it ends."""
    value = 0
    for index, byte in enumerate(stream[at : at + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise ValueError("a length without an end")


class _Bits:
    """Numbers of so many bits each, the highest one first."""

    def __init__(self, content: memoryview) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def __call__(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a sequence header that is cut off")
        return self._value >> self._left & ((1 << count) - 1)

    def skip_variable(self) -> None:
        """Pass over a number in the form uvlc()."""
        zeros = 0
        while not self(1):
            zeros += 1
        if zeros < 32:
            self(zeros)


def _sides(payload: memoryview) -> tuple[int, int]:
    bits = _Bits(payload[:_LONGEST])
    bits(4)  # the profile, and whether it is a still picture
    reduced = bits(1)
    if reduced:
        bits(5)
    else:
        _skip_operating_points(bits)
    lengths = bits(4) + 1, bits(4) + 1
    width, height = (bits(length) + 1 for length in lengths)
    # Unless the header is reduced, a frame may have sides of its own, of so many bits. Decoders need not compare them.
    return (width, height) if reduced else (1 << lengths[0], 1 << lengths[1])


def _skip_operating_points(bits: _Bits) -> None:
    delay_length = 0
    if bits(1):  # timing
        bits(64)
        if bits(1):
            bits.skip_variable()
        if bits(1):  # a decoder model
            delay_length = bits(5) + 1
            bits(42)
    display_delay = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits(1)  # the tier
        if delay_length and bits(1):
            bits(2 * delay_length + 1)
        if display_delay and bits(1):
            bits(4)
