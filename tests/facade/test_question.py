"""Which requests are questions for an exchange, and what of them goes further."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facade.exchanges import FACADES
from facade.question import Refused, check_headers, check_query, found_path, read_question
from market.markets import Exchange

BINANCE, BYBIT = FACADES[Exchange("binance")], FACADES[Exchange("bybit")]
KLINES = BINANCE.paths["/fapi/v1/klines"]
KLINE = BYBIT.paths["/v5/market/kline"]


def test_the_paths_that_the_documentation_lists_are_found() -> None:
    """Of facts: the public paths of each exchange that need no key."""
    for path in (
        *("/binance/fapi/v1/klines", "/binance/fapi/v1/exchangeInfo", "/binance/fapi/v1/ping"),
        *("/binance/fapi/v2/ticker/price", "/binance/futures/data/openInterestHist"),
        *("/bybit/v5/market/kline", "/bybit/v5/market/funding/history", "/bybit/v5/market/time"),
    ):
        found = found_path(path)
        assert found is not None
        assert found[1] is not None
        assert path == f"/{found[0].exchange}{found[1].path}"


@pytest.mark.parametrize(
    "path",
    [
        *("/binance/fapi/v1/order", "/binance/fapi/v1/klines/", "/binance//fapi/v1/klines"),
        *("/binance/fapi/v1/../v1/klines", "/binance/fapi/v1/Klines", "/binance/v5/market/kline"),
        *("/bybit/fapi/v1/klines", "/bybit/v5/order/realtime", "/binance/", "/bybit/v5/market/"),
        *("/binance/https://example.com/", "/binance/@example.com/fapi/v1/klines"),
    ],
)
def test_no_other_path_is(path: str) -> None:
    found = found_path(path)
    assert found is not None
    assert found[1] is None


@pytest.mark.parametrize("path", ["/binance", "/other/fapi/v1/klines", "/", "/Binance/x"])
def test_what_names_no_exchange_is_not_for_here(path: str) -> None:
    assert found_path(path) is None


def test_only_its_parameters_go_further_in_one_order() -> None:
    question = read_question(
        BINANCE, KLINES, b"limit=5&x=1&symbol=BTCUSDT&&url=http://h&interval=1h"
    )
    assert question.target == "/fapi/v1/klines?interval=1h&limit=5&symbol=BTCUSDT"
    assert question.query == {"limit": "5", "symbol": "BTCUSDT", "interval": "1h"}
    assert read_question(BYBIT, BYBIT.paths["/v5/market/time"], b"a=b").target == "/v5/market/time"


def test_names_of_contracts_in_any_script_are_encoded_as_the_exchange_wants_them() -> None:
    question = read_question(BINANCE, KLINES, b"symbol=%E5%B8%81%E5%AE%89USDT&interval=1h")
    assert question.target.endswith("symbol=%E5%B8%81%E5%AE%89USDT")
    assert question.query["symbol"] == "币安USDT"


@pytest.mark.parametrize(
    "cursor", ["lastid%3D19408935%26lasttime%3D1780617600", "lastid%253D1%2526lasttime%253D2"]
)
def test_a_cursor_goes_on_as_it_came(cursor: str) -> None:
    path = BYBIT.paths["/v5/market/open-interest"]
    assert read_question(BYBIT, path, f"cursor={cursor}".encode()).target.endswith(
        f"?cursor={cursor}"
    )


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *((b"symbol=BTCUSDT&signature=ab", 403), (b"SIGNATURE=1", 403), (b"%73ignature=1", 403)),
        *((b"timestamp=1", 403), (b"recvWindow=5", 403), (b"apiKey=k", 403), (b"api_key=k", 403)),
        *((b"Timestamp=1", 403), (b"recv_window=5", 403), (b"recvwindow=5", 403)),
        *((b"listenkey=k", 403), (b"+signature=a", 403), (b"signature%20=a", 403)),
        *((b"signature[]=a", 403), (b"X-MBX-APIKEY=k", 403), (b"access_token=k", 403)),
        *((b"symbol=A&symbol=B", 400), (b"symbol=%ff", 400), (b"symbol=%0d%0aHost:x", 400)),
        *((b"symbol=%00", 400), (b"symbol=" + b"A" * 513, 400), (b"&".join([b"a=1"] * 33), 400)),
    ],
)
def test_others_are_refused(query: bytes, status: int) -> None:
    with pytest.raises(Refused) as caught:
        read_question(BINANCE, KLINES, query)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "name",
    [
        *("X-MBX-APIKEY", "X-BAPI-API-KEY", "X-BAPI-SIGN", "Authorization", "Cookie"),
        *("OK-ACCESS-KEY", "OK-ACCESS-SIGN", "Proxy-Authorization", "X-API-Key", "ApiKey"),
        *("X_MBX_APIKEY", "x_bapi_sign"),
    ],
)
def test_headers_with_keys_are_refused(name: str) -> None:
    with pytest.raises(Refused) as caught:
        check_headers([(b"accept", b"*/*"), (name.lower().encode(), b"s3cret")])
    assert caught.value.status == 403
    assert "s3cret" not in str(caught.value)


def test_a_body_is_refused_and_an_empty_one_is_none() -> None:
    for header in ((b"content-length", b"5"), (b"transfer-encoding", b"chunked")):
        with pytest.raises(Refused):
            check_headers([header])
    check_headers([(b"content-length", b"0"), (b"content-type", b"application/json")])


def test_our_own_token_is_no_key_of_an_exchange() -> None:
    check_headers([(b"authorization", b"Bearer x")], spared=b"authorization")
    with pytest.raises(Refused):
        check_headers([(b"cookie", b"a=b")], spared=b"authorization")


@given(st.binary(max_size=200))
def test_any_query_is_a_question_of_its_path_or_refused(query: bytes) -> None:
    try:
        question = read_question(BINANCE, KLINES, query)
    except Refused as refused:
        assert refused.status in (400, 403)
        return
    parts = urlsplit(f"http://exchange{question.target}")
    assert (parts.netloc, parts.path, parts.fragment) == ("exchange", "/fapi/v1/klines", "")
    assert question.target.isascii()
    assert question.target.isprintable()
    assert dict(parse_qsl(parts.query, keep_blank_values=True)) == question.query
    assert set(question.query) <= KLINES.parameters


@given(st.dictionaries(st.sampled_from(sorted(KLINE.parameters)), st.text(max_size=40)))
def test_what_is_asked_reads_the_same_however_it_is_written(query: dict[str, str]) -> None:
    pairs = sorted(query.items(), reverse=True)
    plain, odd = (
        urlencode(pairs),
        "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs),
    )
    try:
        one = read_question(BYBIT, KLINE, plain.encode())
    except Refused:
        assert not all(value.isprintable() for value in query.values())
        return
    assert one.query == query
    assert one.target == read_question(BYBIT, KLINE, odd.encode()).target


def test_no_parameter_of_a_listed_path_is_taken_for_one_of_signed_requests() -> None:
    for facade in (BINANCE, BYBIT):
        for path in facade.paths.values():
            query = "&".join(f"{name}=1" for name in path.parameters)
            assert set(read_question(facade, path, query.encode()).query) == path.parameters


def test_signed_parameters_are_refused_on_any_path() -> None:
    with pytest.raises(Refused):
        check_query(b"symbol=BTCUSDT&side=BUY&signature=1")
