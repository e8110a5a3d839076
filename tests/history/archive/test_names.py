"""Names of archive files: what each says, and which are refused and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history.archive.errors import UnknownFile
from history.archive.names import parse_name
from market.timeframes import Timeframe
from tests.history.archive.files import DAY, ms


@pytest.mark.parametrize(
    ("path", "kind", "symbol", "interval", "begin", "end"),
    [
        ("BTCUSDT-1h-2026-03.zip", "klines", "BTCUSDT", "1h", "2026-03-01", "2026-04-01"),
        ("BTCUSDT-5m-2024-02-29.zip", "klines", "BTCUSDT", "5m", "2024-02-29", "2024-03-01"),
        ("1000PEPEUSDT-1d-2025-12.csv", "klines", "1000PEPEUSDT", "1d", "2025-12-01", "2026-01-01"),
        ("BTCUSDT-metrics-2020-09-01.zip", "metrics", "BTCUSDT", None, "2020-09-01", "2020-09-02"),
        ("币安人生USDT-8h-2026-01.zip", "klines", "币安人生USDT", "8h", "2026-01-01", "2026-02-01"),
        (
            "data/futures/um/monthly/fundingRate/ETHUSDC/ETHUSDC-fundingRate-2020-01.zip",
            *("fundingRate", "ETHUSDC", None, "2020-01-01", "2020-02-01"),
        ),
    ],
)
def test_a_name_tells_kind_symbol_interval_and_span(
    path: str, kind: str, symbol: str, interval: str | None, begin: str, end: str
) -> None:
    found = parse_name(path)
    assert (found.kind, found.symbol, found.timeframe) == (kind, symbol, interval)
    assert (found.from_ms, found.to_ms) == (ms(begin), ms(end))
    assert found.is_monthly == (ms(end) - ms(begin) > DAY)
    assert found.key.symbol == symbol
    assert found.key.exchange == "binance"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("BTCUSDT-1m-2026-03.zip", "candles of 1m are not recorded, only 5m, 15m"),
        ("BTCUSDT-1mo-2026-03.zip", "candles of 1mo are not recorded"),
        ("BTCUSDT-aggTrades-2026-03.zip", "aggTrades is not imported, only klines of 5m"),
        ("btcusdt-1h-2026-03.csv", "must begin with BTCUSDT"),
        ("BTCUSDT-1h-2026-13.zip", "no valid date"),
        ("BTCUSDT-1h-2026-02-30.zip", "no valid date"),
        ("BTCUSDT_260626-1h-2026-03.zip", "BTCUSDT_260626 is no perpetual contract"),
        ("BTCUSDT-1h-2026-03.zip.CHECKSUM", "read with the file"),
        ("BTCUSDT-1h-2026-03.csv.gz", "imported are klines of 5m"),
        ("notes.txt", "imported are klines of 5m"),
        ("data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2026-03.zip", "it is of spot markets"),
        ("x/futures/cm/daily/klines/A/1h/BTCUSDT-1h-2026-03-01.zip", "it is of cm markets"),
        ("um/monthly/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2026-03.zip", "markPriceKlines are not"),
    ],
)
def test_other_names_are_refused_with_what_is_allowed(path: str, words: str) -> None:
    with pytest.raises(UnknownFile, match=words.replace("(", r"\(")):
        parse_name(path)


def test_files_are_imported_in_the_order_in_which_they_help_each_other() -> None:
    names = [
        "BTCUSDT-metrics-2026-03-01.zip",
        "BTCUSDT-fundingRate-2026-03.zip",
        "ETHUSDT-5m-2026-03.zip",
        "BTCUSDT-5m-2026-03-01.zip",
        "BTCUSDT-5m-2026-03.zip",
        "BTCUSDT-1d-2026-03.zip",
    ]
    found = sorted((parse_name(name) for name in names), key=lambda name: name.order)
    assert [name.name for name in found] == [
        "BTCUSDT-1d-2026-03.zip",
        "BTCUSDT-5m-2026-03.zip",
        "BTCUSDT-5m-2026-03-01.zip",
        "ETHUSDT-5m-2026-03.zip",
        "BTCUSDT-fundingRate-2026-03.zip",
        "BTCUSDT-metrics-2026-03-01.zip",
    ]


@given(st.text(max_size=60) | st.from_regex(r"\w{1,12}-(1h|metrics)-\d{4}-\d\d(-\d\d)?\.zip"))
def test_any_name_is_parsed_or_refused(name: str) -> None:
    try:
        found = parse_name(name)
    except UnknownFile:
        return
    assert found.from_ms < found.to_ms
    assert found.timeframe is None or found.timeframe in Timeframe
