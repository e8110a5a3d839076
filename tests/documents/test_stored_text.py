"""A document's stored text: what other programs can check, and readers of other releases expect."""

import base64
import binascii
import time
import zlib
from typing import Any

import pytest

from documents.deflated import Deflated
from documents.stored_text import TextDecoder, TextStream, stored_hash

# `printf perpcache | b2sum -l 64` of GNU coreutils.
PERPCACHE_B2SUM = "8f4b299468865bac"


def test_the_hash_is_blake2b_of_64_bits() -> None:
    assert stored_hash(b"perpcache") == PERPCACHE_B2SUM
    text = TextStream(Deflated((b"perp", b"cache"), 9), piece_bytes=4)
    pieces = iter(text.piece, b"")
    assert b"".join(pieces) == base64.b64encode(b"perpcache")
    assert (text.hash, text.written) == (PERPCACHE_B2SUM, 12)
    decoder = TextDecoder()
    assert decoder.feed(base64.b64encode(b"perpcache"))
    assert (decoder.hash, decoder.stream()) == (PERPCACHE_B2SUM, b"perpcache")


def test_a_large_stream_is_the_same_in_pieces() -> None:
    stream = zlib.compress(bytes(range(256)) * 4096, level=0)
    text = TextStream(Deflated((stream,), 1 << 20), piece_bytes=100_000)
    pieces = list(iter(text.piece, b""))
    assert max(map(len, pieces)) <= 100_000 and len(pieces) > 10
    assert b"".join(pieces) == base64.b64encode(stream)
    decoder = TextDecoder()
    assert all(decoder.feed(piece) for piece in pieces)
    assert decoder.stream() == stream
    assert decoder.hash == text.hash == stored_hash(stream)


def pieces_of(raw: bytes, piece_bytes: int) -> list[bytes]:
    text = TextStream(Deflated((raw,), 1), piece_bytes)
    return [*iter(text.piece, b"")]


@pytest.mark.parametrize(
    ("piece_bytes", "lengths"),
    [(4, [4, 4, 4, 4]), (7, [4, 4, 4, 4]), (8, [8, 8]), (15, [12, 4]), (16, [16]), (99, [16])],
)
def test_pieces_are_as_long_as_whole_groups_allow(piece_bytes: int, lengths: list[int]) -> None:
    pieces = pieces_of(b"0123456789", piece_bytes)
    assert [len(piece) for piece in pieces] == lengths
    assert b"".join(pieces) == b"MDEyMzQ1Njc4OQ=="


def test_what_is_written_is_counted_piece_by_piece() -> None:
    text = TextStream(Deflated((b"01234", b"5678"), 1), 8)
    counted = []
    while text.piece():
        counted.append((text.written, text.hash))
    assert counted == [(8, stored_hash(b"012345")), (12, stored_hash(b"012345678"))]
    assert (text.piece(), text.written) == (b"", 12)


def test_pieces_hold_several_slices_where_they_fit() -> None:
    # A slice of 192 KiB is 256 KiB of text.
    raw = bytes(5 * 196_608)
    assert [len(piece) for piece in pieces_of(raw, 524_288)] == [524_288, 524_288, 262_144]
    assert [len(piece) for piece in pieces_of(raw, 524_287)] == 5 * [262_144]
    assert [len(piece) for piece in pieces_of(raw, 10_000_000)] == [1_310_720]


def test_the_loop_gets_its_turn_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    encode, decode = binascii.b2a_base64, binascii.a2b_base64

    def encoded(raw: bytes, *, newline: bool) -> bytes:
        calls.append(("encode", len(raw)))
        return encode(raw, newline=newline)

    def decoded(text: memoryview, *, strict_mode: bool) -> bytes:
        calls.append(("decode", len(text)))
        return decode(text, strict_mode=strict_mode)

    monkeypatch.setattr(binascii, "b2a_base64", encoded)
    monkeypatch.setattr(binascii, "a2b_base64", decoded)
    monkeypatch.setattr(time, "sleep", lambda seconds: calls.append(("sleep", seconds)))
    (piece,) = pieces_of(bytes(200_000), 10_000_000)
    turn = ("sleep", 0)
    assert calls == [("encode", 196_608), turn, ("encode", 3_392), turn]
    calls.clear()
    assert TextDecoder().feed(piece)
    assert calls == [("decode", 262_144), turn, ("decode", 4_524), turn]


@pytest.mark.parametrize(
    "text",
    [b"c", b"cGVy\n", b"YQ==YQ==", b"\xff\xff\xff\xff", b"cGV*", b"c GV5", b"YR=A", b"===="],
)
def test_what_is_not_base64_is_told(text: bytes) -> None:
    decoder = TextDecoder()
    assert decoder.feed(b"cGVycGNh") is True
    assert decoder.feed(text) is False


def test_nothing_is_base64_of_nothing() -> None:
    decoder = TextDecoder()
    assert decoder.feed(b"") is True
    assert (decoder.stream(), decoder.hash) == (b"", stored_hash(b""))
