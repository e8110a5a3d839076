"""Accept-Encoding and If-None-Match, by RFC 9110."""

import pytest

from api.documents.content_coding import Coding, choose_coding
from api.documents.validators import etag_matches, read_date


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Coding.IDENTITY),
        ("", Coding.IDENTITY),
        ("deflate", Coding.DEFLATE),
        ("gzip", Coding.GZIP),
        ("x-gzip", Coding.GZIP),
        ("GZip", Coding.GZIP),
        ("gzip, deflate", Coding.DEFLATE),
        ("gzip, deflate, br, zstd", Coding.DEFLATE),
        ("br", Coding.IDENTITY),
        ("identity", Coding.IDENTITY),
        ("*", Coding.DEFLATE),
        ("*;q=0.1", Coding.DEFLATE),
        ("deflate;q=0.5, gzip;q=0.9", Coding.GZIP),
        ("deflate ; q=0.5 , gzip\t;\tq=0.501", Coding.GZIP),
        ("deflate;q=0.5, identity", Coding.IDENTITY),
        ("deflate;q=0.001", Coding.DEFLATE),
        ("deflate;q=0, *", Coding.GZIP),
        ("deflate;q=0", Coding.IDENTITY),
        ("deflate;q=0, gzip;q=0", Coding.IDENTITY),
        ("identity;q=0, gzip", Coding.GZIP),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("br, *;q=0", None),
        ("*;q=0, gzip;q=0.2", Coding.GZIP),
        ("identity;q=0.5, *;q=0", Coding.IDENTITY),
        # Malformed elements say nothing.
        ("gzip;q=2", Coding.IDENTITY),
        ("gzip;q=abc, deflate;q=", Coding.IDENTITY),
        ("gzip;level=9", Coding.IDENTITY),
        ("gzip;q=0.1234, deflate;q=0.2", Coding.DEFLATE),
        (",,;,", Coding.IDENTITY),
        ("gzip" + " " * 300, Coding.GZIP),
    ],
)
def test_coding(header: str | None, expected: Coding | None) -> None:
    assert choose_coding(None if header is None else header.encode()) is expected


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ('"7-ab-deflate"', True),
        ('"7-ab-gzip"', True),
        ('W/"7-ab-identity"', True),
        ('"x", W/"y" , "7-ab-gzip"', True),
        ("*", True),
        (" * ", True),
        ('"7-ab-br"', False),
        ('"7-ab"', False),
        ('"7-ab-ffff-gzip"', False),
        ('"8-ab-gzip"', False),
        ("7-ab-gzip", False),
        ('"7-ab-gzip', False),
        ("", False),
        ('"*"', False),
        # What proxies that compress put behind the tag, inside the quotes.
        ('"7-ab-identity-gzip"', True),
        ('"7-ab-deflate-br"', True),
        ('W/"7-ab-identity--gzip"', True),
        ('"7-ab-gzip-gzip"', True),
        ('"7-ab-identity-gzip-br"', False),
        ('"7-ab-ffff-identity-gzip"', False),
        ('"7-ab-identity-snappy"', False),
    ],
)
def test_validators(header: str, known: bool) -> None:
    assert etag_matches(header.encode(), b"7-ab") is known


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # RFC 9110, 5.6.7: the three forms of one instant, which is 784111777 by `date -d`.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("yesterday", None),
        ("", None),
        ("Sun, 06 Nov 19945678 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 300, None),
        ("\xff", None),
    ],
)
def test_dates(text: str, seconds: int | None) -> None:
    assert read_date(text.encode("latin-1")) == seconds
