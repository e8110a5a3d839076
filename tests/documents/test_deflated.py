"""One zlib stream joined from parts, inflated by zlib itself."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from documents.deflated import (
    deflate,
    deflate_each,
    deflate_whole,
    inflate,
    inflate_at_most,
    inflate_parts,
    join_parts,
)

# Repetitive text too, whose parts would refer to each other if they could.
texts = st.binary(max_size=300) | st.sampled_from([b"", b",", b'"rows":[[1,2.5],' * 4000])


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=8), st.randoms())
def test_parts_in_any_order_are_one_stream(parts: list[bytes], order: object) -> None:
    made = [deflate(text) for text in parts]
    order.shuffle(places := list(range(len(parts))))  # type: ignore[attr-defined]
    whole = b"".join(parts[place] for place in places)
    stream = join_parts(made[place] for place in places)
    assert zlib.decompress(b"".join(stream.pieces)) == whole == stream.inflate()
    assert stream.text_bytes == len(whole)


def test_a_long_text_is_cut() -> None:
    text = bytes(range(256)) * 20_000
    stream = deflate_whole(text)
    assert zlib.decompress(b"".join(stream.pieces)) == text
    assert len(stream.pieces) > 3


def test_damage_is_told() -> None:
    stream = b"".join(deflate_whole(b"some text, some text").pieces)
    assert inflate(stream, 20) == b"some text, some text"
    for damaged in (stream[:-1], b"", stream[:-4] + bytes(4), stream[:2] + b"x" + stream[3:]):
        with pytest.raises(ValueError, match=r"rror|truncated|bytes instead of"):
            inflate(damaged, 20)
    with pytest.raises(ValueError, match="20 bytes instead of 21"):
        inflate(stream, 21)


@pytest.mark.parametrize(
    ("size", "parts"), [(0, 0), (1, 1), (1_048_576, 1), (1_048_577, 2), (2_097_153, 3)]
)
def test_a_whole_text_is_cut_into_parts_of_a_mebibyte(size: int, parts: int) -> None:
    stream = deflate_whole(bytes(size))
    assert len(stream.pieces) == 1 + parts + 1  # with head and end
    assert stream.text_bytes == size
    assert stream.inflate() == bytes(size)


def test_a_part_is_what_the_quick_level_makes() -> None:
    text = b"".join(b"[%d,%d.5,null]," % (n * n * n % 99991, n * n % 977) for n in range(3000))
    compressor = isal_zlib.compressobj(level=1, wbits=-15)
    deflated = compressor.compress(text) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
    part = deflate(text)
    assert (part.deflated, part.size, part.adler) == (deflated, len(text), zlib.adler32(text))
    assert deflate(memoryview(text)) == part


def test_the_checksum_of_texts_whose_sums_exceed_its_base() -> None:
    texts = [b"\xff" * 300, b"\xff" * 65_521, b"", b"\x00" * 70_000, b"\xff" * 5_000]
    stream = join_parts(map(deflate, texts))
    assert stream.pieces[0] == b"\x78\x01"
    checksum = zlib.adler32(b"".join(texts)).to_bytes(4, "big")
    assert stream.pieces[-1] == b"\x03\x00" + checksum


def test_no_more_is_inflated_than_allowed() -> None:
    text = bytes(range(256)) * 1000
    stream = b"".join(deflate_whole(text).pieces)
    assert inflate_at_most(stream, len(text) + 1) == text
    with pytest.raises(ValueError, match="the stream does not end within 255999 bytes of text"):
        inflate_at_most(stream, len(text) - 1)
    with pytest.raises(ValueError, match="the stream does not end within 256001 bytes of text"):
        inflate_at_most(stream[:-1], len(text) + 1)
    with pytest.raises(ValueError, match="rror") as damaged:
        inflate_at_most(b"x" * 10, 100)
    assert damaged.value.__suppress_context__


def test_adjacent_parts_are_inflated_alone() -> None:
    texts = [b"one, ", b"two, " * 99, b"", b"three"]
    made = deflate_each(texts)
    assert [inflate_parts(part.deflated, part.size) for part in made] == texts
    joined = b"".join(part.deflated for part in made[1:])
    assert inflate_parts(memoryview(joined), 500) == b"two, " * 99 + b"three"
    with pytest.raises(ValueError, match="500 bytes instead of 501"):
        inflate_parts(joined, 501)
    with pytest.raises(ValueError, match="rror"):
        inflate_parts(joined[3:], 500)
