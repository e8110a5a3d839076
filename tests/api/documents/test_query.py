"""Query parameters of a document: parsing, and the errors of invalid ones."""

from urllib.parse import quote

import pytest

from api.documents.query import InvalidQuery, read_query
from documents.text import DocumentFilter


def test_queries_are_read() -> None:
    query = read_query(b"exchange=binance,bybit&symbol=A&symbol=B%2CC,&since=5&closed=true&limit=2")
    assert query.filter == DocumentFilter(
        frozenset(["binance", "bybit"]), frozenset(["A", "B", "C"]), 5, True, 2
    )
    assert read_query("symbol=币安".encode()).filter.symbols == frozenset(["币安"])
    assert read_query(b"symbol=btcUsdt").filter.symbols == frozenset(["BTCUSDT"])
    assert read_query(b"wait=1.5").wait_s == 1.5
    assert read_query(b"_=12345&closed=false&wait=0").filter.is_whole


def test_the_tag_is_of_what_is_asked_not_of_how() -> None:
    same = {
        read_query(query).tag
        for query in (
            b"limit=2&symbol=A,B",
            b"symbol=B&symbol=A&limit=002&wait=9",
            b"symbol=B,A&limit=2",
            b"symbol=b,a&limit=2",
        )
    }
    assert len(same) == 1
    others = (b"", b"limit=2", b"limit=3", b"since=2", b"closed=true", b"symbol=A,B")
    assert len({read_query(query).tag for query in others}) == len(others)
    assert read_query(b"").tag == read_query(b"closed=false").tag == b""


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("exchange=kraken", ["exchange"]),
        ("exchange=", ["exchange"]),
        ("exchange=binance,Kraken", ["exchange"]),
        ("symbol=", ["symbol"]),
        ("symbol", ["symbol"]),
        ("symbol=,&symbol=%20", ["symbol"]),
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
        ("as_of=2025-12-01&wait=5", ["wait"]),
        ("wait=99&as_of=never", ["wait", "as_of"]),
        ("&".join(["a=1"] * 2001), ["query"]),
    ],
)
def test_wrong_queries_name_what_is_wrong(query: str, names: list[str]) -> None:
    with pytest.raises(InvalidQuery) as caught:
        read_query(query.encode())
    assert [error["loc"] for error in caught.value.errors] == [["query", name] for name in names]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("symbl", "symbol"),
        ("symbols", "symbol"),
        ("Symbol", "symbol"),
        ("exchanges", "exchange"),
        ("limt", "limit"),
        ("close", "closed"),
        ("from", None),
        ("", None),
        ("<script>alert(1)</script>", None),
        ("symbol" * 2000, None),
    ],
)
def test_unknown_parameters_are_refused_with_the_nearest(name: str, meant: str | None) -> None:
    with pytest.raises(InvalidQuery) as caught:
        read_query(f"limit=1&{quote(name)}=1".encode())
    (error,) = caught.value.errors
    assert (error["type"], error["loc"]) == ("unknown", ["query"])
    assert (f"did you mean {meant}?" in error["msg"]) == (meant is not None)
    assert "exchange, symbol, since, closed, limit, wait, as_of" in error["msg"]
    assert "alert" not in error["msg"]


def test_few_of_many_unknown_parameters_are_answered() -> None:
    unknown = ("symbol", "limit", "closed", "since")
    with pytest.raises(InvalidQuery) as caught:
        read_query("&".join(f"{unknown[number % 4]}{number}=1" for number in range(2000)).encode())
    assert len(caught.value.errors) == 3


def test_unknown_parameters_with_one_answer_get_it_once() -> None:
    with pytest.raises(InvalidQuery) as caught:
        read_query(b"foo=1&limt=1&bar=1")
    first, second = caught.value.errors
    assert "did you mean" not in first["msg"]
    assert "did you mean limit?" in second["msg"]


def test_an_integer_that_is_too_large_is_answered_with_the_largest() -> None:
    largest = "9" * 16
    assert read_query(f"limit={largest}".encode()).filter.limit == int(largest)
    for name in ("limit", "since"):
        with pytest.raises(InvalidQuery) as caught:
            read_query(f"{name}={largest}9".encode())
        (error,) = caught.value.errors
        assert f"at most {largest}" in error["msg"]
