"""Reading queries, Accept-Encoding and If-None-Match, by RFC 9110 and the contract's words."""

import pytest

from api.documents.negotiation import Coding, InvalidQuery, choose_coding, is_known, read_query
from documents.text import Query


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
    ],
)
def test_validators(header: str, known: bool) -> None:
    assert is_known(header.encode(), b"7-ab") is known


def test_queries_are_read() -> None:
    wanted = read_query(
        b"exchange=binance,bybit&symbol=A&symbol=B%2CC,&since=5&closed=true&limit=2"
    )
    assert wanted.query == Query(
        frozenset(["binance", "bybit"]), frozenset(["A", "B", "C"]), 5, True, 2
    )
    assert read_query("symbol=币安".encode()).query.symbols == frozenset(["币安"])
    assert read_query(b"symbol=").query.symbols == frozenset()
    assert read_query(b"wait=1.5").wait_s == 1.5
    assert read_query(b"_=12345&closed=false&wait=0").query.is_whole


def test_the_tag_is_of_what_is_asked_not_of_how() -> None:
    same = {
        read_query(query).tag
        for query in (
            b"limit=2&symbol=A,B",
            b"symbol=B&symbol=A&limit=002&wait=9",
            b"symbol=B,A&limit=2",
        )
    }
    assert len(same) == 1
    others = (b"", b"limit=2", b"limit=3", b"since=2", b"closed=true", b"symbol=", b"symbol=A,B")
    assert len({read_query(query).tag for query in others}) == len(others)
    assert read_query(b"").tag == read_query(b"closed=false").tag == b""


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("exchange=kraken", ["exchange"]),
        ("exchange=", ["exchange"]),
        ("exchange=binance,Kraken", ["exchange"]),
        ("limit=0", ["limit"]),
        ("limit=-1", ["limit"]),
        ("limit=1.5", ["limit"]),
        ("limit=", ["limit"]),
        ("limit=1&limit=2", ["limit"]),
        ("limit=٣", ["limit"]),
        ("limit=" + "9" * 5000, ["limit"]),
        ("since=abc", ["since"]),
        ("since=-1", ["since"]),
        ("closed=1", ["closed"]),
        ("closed=True", ["closed"]),
        ("closed", ["closed"]),
        ("wait=61", ["wait"]),
        ("wait=60.001", ["wait"]),
        ("wait=-1", ["wait"]),
        ("wait=nan", ["wait"]),
        ("wait=1e1", ["wait"]),
        ("limit=0&wait=99&closed=no", ["closed", "limit", "wait"]),
        ("&".join(["a=1"] * 2001), ["query"]),
    ],
)
def test_wrong_queries_name_what_is_wrong(query: str, names: list[str]) -> None:
    with pytest.raises(InvalidQuery) as caught:
        read_query(query.encode())
    assert [error["loc"] for error in caught.value.errors] == [["query", name] for name in names]
