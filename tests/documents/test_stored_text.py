"""A document's stored text: what other programs can check, and readers of other releases expect."""

import base64
import zlib

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
