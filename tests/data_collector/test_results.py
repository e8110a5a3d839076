"""What a collection's results count, name and raise, by exact calls."""

import pytest
import structlog

from data_collector.results import Results, reason_of
from market.left_out import LeftOut
from market.markets import Exchange, Missing
from market.timeframes import Timeframe
from stores.hot.leases import LeaseLost
from tests.fixtures.markets import market
from venues.errors import BadPayload, CollectionFailed, SourceDown, SymbolGone

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
A, B, C = market(BINANCE, "AUSDT"), market(BINANCE, "BUSDT"), market(BYBIT, "CUSDT")


def results(progress: list[tuple[int, int]] | None = None) -> Results:
    shown = [] if progress is None else progress
    return Results(9, lambda done, total: shown.append((done, total)))


def gone(cause: str = "gone") -> SymbolGone:
    return SymbolGone(cause, exchange=BINANCE, status=400)


def test_progress_adds_up() -> None:
    progress: list[tuple[int, int]] = []
    counted = results(progress)
    for tasks in (0, 1, 3):
        counted.progress(tasks)
    assert progress == [(0, 9), (1, 9), (4, 9)]


def test_progress_that_cannot_be_shown_is_logged_once_and_costs_nothing() -> None:
    def failing(done: int, total: int) -> None:
        raise BrokenPipeError

    counted = Results(2, failing)
    with structlog.testing.capture_logs() as logs:
        counted.progress(1)
        counted.progress(1)
    assert [log["event"] for log in logs] == ["progress_not_shown"]
    assert counted.done == 2

    def lost(done: int, total: int) -> None:
        raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        Results(2, lost).progress(1)


@pytest.mark.parametrize(("status", "reason"), [(None, "so"), (200, "so"), (400, "so (HTTP 400)")])
def test_the_reason_tells_the_status_of_a_refusal(status: int | None, reason: str) -> None:
    assert reason_of(BadPayload("so", exchange=BINANCE, status=status)) == reason


def test_what_is_missing() -> None:
    counted = results()
    counted.failed(A, gone())
    counted.add_missing(B, "open_interest", gone("no"))
    counted.add_missing(B, "funding_rate", "its funding has not been fetched yet")
    counted.add_left_out(A, "klines", [LeftOut(n, "odd") for n in range(1, 23)])
    assert counted.missing[:4] == [
        Missing(BINANCE, "AUSDT", "klines", "gone (HTTP 400)"),
        Missing(BINANCE, "BUSDT", "open_interest", "no (HTTP 400)"),
        Missing(BINANCE, "BUSDT", "funding_rate", "its funding has not been fetched yet"),
        Missing(BINANCE, "AUSDT", "klines", "and 2 more, up to 2"),
    ]
    assert len(counted.missing) == 3 + 21


def test_the_results_of_a_collection() -> None:
    counted = results()
    counted.merged(B, 10, refreshed=True)
    counted.merged(A, 5, refreshed=False)
    counted.failed(C, SourceDown("down", exchange=BYBIT, status=503))
    counted.failed(C, SourceDown("so", exchange=BYBIT))
    counted.failed(C, SourceDown("so", exchange=BYBIT))
    with structlog.testing.capture_logs() as logs:
        counted.count_correction(A, "klines")
    assert [(log["market"], log["part"]) for log in logs] == [("binance:AUSDT", "klines")]
    counted.carried_over, counted.funding_outdated = 3, True
    found = counted.finish(Timeframe.H4, as_of_ms=7, requests=11, retries=2)
    assert (found.as_of_ms, found.requests, found.retries) == (7, 11, 2)
    assert (found.markets, found.refreshed, found.corrected, found.carried_over) == (2, 1, 1, 3)
    assert found.funding_outdated
    assert [entry.reason for entry in found.missing] == ["down (HTTP 503)", "so", "so"]
    assert found.brought == {BINANCE}
    assert found.absent == {BYBIT: "so"}


def test_an_exchange_without_a_candle_is_absent() -> None:
    counted = results()
    counted.merged(C, 0, refreshed=False)
    counted.merged(A, 1, refreshed=False)
    assert counted.absent() == {BYBIT: "no market has a candle in the window"}
    found = counted.finish(Timeframe.H4, as_of_ms=7, requests=1, retries=0)
    assert found.brought == {BINANCE}


def test_a_collection_without_any_candle_has_failed() -> None:
    counted = results()
    counted.merged(C, 0, refreshed=False)
    with pytest.raises(CollectionFailed) as failed:
        counted.finish(Timeframe.H4, as_of_ms=7, requests=1, retries=0)
    assert str(failed.value) == "no market has a candle in the window"
    counted.failed(C, SourceDown("so", exchange=BYBIT))
    for cause in ("gone", "other", "other"):
        counted.failed(A, gone(cause))
    with pytest.raises(CollectionFailed) as failed:
        counted.finish(Timeframe.H4, as_of_ms=7, requests=1, retries=0)
    assert str(failed.value) == "binance: other (HTTP 400); bybit: so"
