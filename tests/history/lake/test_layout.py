"""The layout: months of UTC, names that are safe in any folder, pairs of freqtrade."""

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from history.lake.freqtrade import Pair, pair_of
from history.lake.layout import months, parquet_files, safe_name
from history.lake.wanted import Wanted
from market.timeframes import DAY_MS, Timeframe
from stores.cold.history.series import SeriesKey

_TIMES = st.integers(0, 4_102_444_799_999)  # to 2099
_NAMES = st.text(max_size=120)


@given(_TIMES, st.integers(0, 1500 * DAY_MS))
def test_months_are_those_of_the_calendar(first_ms: int, length_ms: int) -> None:
    found = list(months(first_ms, first_ms + length_ms))
    assert found[0].from_ms <= first_ms < found[0].to_ms
    assert found[-1].from_ms <= first_ms + length_ms < found[-1].to_ms
    assert all(a.to_ms == b.from_ms for a, b in pairwise(found))
    for month in found:
        begin = datetime.fromtimestamp(month.from_ms / 1000, UTC)
        assert begin.strftime("%Y-%m-%d %H:%M:%S.%f") == f"{month.name}-01 00:00:00.000000"


@given(_NAMES, _NAMES)
def test_names_are_no_paths_and_differ(first: str, second: str) -> None:
    name = safe_name(first)
    if name is not None:
        assert not {*name} & {*'/\\\0\n:*?"<>|'} and not name.startswith(".")
        assert name.isprintable() and len(name.encode()) <= 200
        assert (first == second) == (name == safe_name(second))


@given(_NAMES, _NAMES)
def test_pairs_are_no_paths(base: str, quote: str) -> None:
    name = Pair(base, quote).file_name()
    if name is not None:
        assert all(char.isalnum() or char in "_-" for char in name) and len(name.encode()) <= 200


def test_names_as_freqtrade_writes_them() -> None:
    assert Pair("BTC", "USDT").file_name() == "BTC_USDT_USDT"
    assert Pair("1000.X@$", "USDC").file_name() == "1000_X___USDC_USDC"
    assert Pair("a\\b", "USDT").file_name() is None
    assert pair_of(SeriesKey.funding("bybit", "ETHUSDC"), {}) == Pair("ETH", "USDC")
    assert pair_of(SeriesKey.funding("bybit", "ETHPERP"), {}) is None
    known = {("bybit", "ETHPERP"): Pair("ETH", "USDC")}
    assert pair_of(SeriesKey.funding("bybit", "ETHPERP"), known) == Pair("ETH", "USDC")


def test_files_of_a_span_of_time() -> None:
    group = (SeriesKey.candles("bybit", "A", Timeframe.H8),)
    january, march = 1_767_225_600_000, 1_772_323_200_000
    wanted = Wanted("parquet", from_ms=january + 5, to_ms=march + 1)
    found = list(parquet_files(group, january - DAY_MS, march + DAY_MS, wanted))
    assert [(file.path, file.from_ms, file.to_ms) for file in found] == [
        (f"candles/exchange=bybit/timeframe=8h/month=2026-{name}/part-0.parquet", begin, end)
        for name, begin, end in (
            ("01", january + 5, 1_769_904_000_000),
            ("02", 1_769_904_000_000, march),
            ("03", march, march + 1),
        )
    ]
    assert not list(parquet_files(group, march + 1, march + DAY_MS, wanted))
