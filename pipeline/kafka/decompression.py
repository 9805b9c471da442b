"""Decompresses what producers compressed, piece by piece: a few kilobytes in Kafka can stand for gigabytes.

Owns the bound on what decompression holds: a piece at a time, beside what the codec itself keeps (the window of zstd,
one block of snappy). The codecs are libraries. Pure: no IO, no clock, no log.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import lz4.frame
import snappy
import zstandard

PIECE: Final = 1 << 20
"""Bytes that a piece has at most; a block of snappy may be larger, up to `MAX_BLOCK`."""

MAX_BLOCK: Final = 32 << 20
"""Largest block of snappy in bytes: that codec has no pieces. Producers make blocks of 32 KiB, or one of a batch."""

_FED: Final = 1 << 16
_USUAL_RATIO: Final = 16
_GZIP: Final = 31
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = 16
_VARINT: Final = 5


def pieces(codec: int, data: memoryview) -> Iterator[bytes]:
    """Yield what was compressed, in pieces, some of them empty; a caller that has enough stops.

    Args:
        codec: Kafka's number of it; not 0.
        data: the compressed bytes.

    Raises:
        Exception: codecs raise whatever they like.
    """
    return _CODECS[codec](data)


def _gzip(data: memoryview) -> Iterator[bytes]:
    """Yield the members of a gzip stream, one behind the other."""
    member = zlib.decompressobj(_GZIP)
    for start in range(0, len(data), _FED):
        fed = bytes(data[start : start + _FED])
        while fed:
            yield member.decompress(fed, PIECE)
            fed = member.unconsumed_tail
            if member.eof:
                fed, member = member.unused_data, zlib.decompressobj(_GZIP)


def _lz4(data: memoryview) -> Iterator[bytes]:
    """Yield the frames of lz4, one behind the other; each with its own object, which keeps a rest of it."""
    rest = bytes(data)
    while rest:
        frame = lz4.frame.LZ4FrameDecompressor()
        yield frame.decompress(rest, PIECE)
        while not frame.eof and not frame.needs_input:
            yield frame.decompress(b"", PIECE)
        rest = (frame.unused_data or b"") if frame.eof else b""


def _zstd(data: memoryview) -> Iterator[bytes]:
    """Yield the frames of zstd, one behind the other."""
    size = min(PIECE, _USUAL_RATIO * len(data))
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        while piece := reader.read(size):
            yield piece


def _snappy(data: memoryview) -> Iterator[bytes]:
    """Yield the blocks of snappy: one, or many in the frame of the Java library."""
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        yield _block(data)
        return
    place = _XERIAL_HEADER
    joined = bytearray()
    while place < len(data):
        (size,) = struct.unpack_from(">i", data, place)
        place += 4
        joined += _block(data[place : place + size])
        place += size
        if len(joined) >= PIECE:
            yield bytes(joined)
            joined.clear()
    yield bytes(joined)


def _block(data: memoryview) -> bytes:
    size = 0
    for shift, byte in enumerate(data[:_VARINT]):
        size |= (byte & 0x7F) << 7 * shift
        if byte < 1 << 7:
            break
    if size > MAX_BLOCK:
        raise ValueError(f"a block of snappy has {size} bytes, at most {MAX_BLOCK} are read")
    return bytes(snappy.decompress(bytes(data)))


_CODECS: Final[dict[int, Callable[[memoryview], Iterator[bytes]]]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
