"""One zlib stream joined from parts, inflated by zlib itself."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.deflated import deflate, deflate_whole, inflate, join_parts

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
