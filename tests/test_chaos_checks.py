"""The chaos run's checks find what is planted: a run without violations has looked.

A simulator of its own gives the truth; documents are made of that truth here, without the
product, and then spoilt, one way at a time.
"""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import aiohttp
import pytest

from chaos.checks import (
    COLUMNS,
    GLOBAL_FR,
    INTERVALS_MS,
    Facts,
    KnownFunding,
    Truth,
    check_candles,
    check_funding_document,
    cut,
    lags,
    last_closed,
)
from chaos.truth import MarketTruth
from tests.fixtures.simulator import NOW_MS, Simulator

CANDLES: Final = 60
EARLIER_MS: Final = NOW_MS - 60_000
NAME: Final = "1h"
Spoil = Callable[[Any], None]


class CheckedDocument:
    """A faultless document, one stale market and one lack in it, and what it is held against."""

    def __init__(self, document: Any, facts: Facts) -> None:
        self.document = document
        self.facts = facts

    def problems(self, spoil: Spoil = lambda document: None, name: str = NAME) -> list[str]:
        document = copy.deepcopy(self.document)
        spoil(document)
        return check_candles(name, document, self.facts).problems


@pytest.fixture(scope="module")
def checked(module_simulator: Simulator) -> CheckedDocument:
    return asyncio.run(_checked(module_simulator, NAME))


@pytest.fixture(scope="module")
def module_simulator() -> Any:
    simulator = Simulator({"binance": 3, "bybit": 3, "okx": 3, "now": EARLIER_MS, "frozen": True})
    yield simulator
    simulator.stop()


async def _book(simulator: Simulator) -> tuple[MarketTruth, aiohttp.ClientSession]:
    session = aiohttp.ClientSession(simulator.base_url)

    async def ask(path: str) -> Any:
        async with session.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    book = MarketTruth(ask, candles=CANDLES, settlements=30)
    markets = simulator.get("/sim/markets")["markets"]
    book.symbols |= {market["symbol"] for market in markets if market["collected"]}
    return book, session


async def _checked(simulator: Simulator, name: str) -> CheckedDocument:
    book, session = await _book(simulator)
    try:
        now = await book.candles_at(name, NOW_MS)
        before = await book.candles_at(name, EARLIER_MS)
    finally:
        await book.aclose()
        await session.close()
    keys = sorted(now.rows)
    stale = keys[0]
    markets: list[Any] = [
        {
            "exchange": key.partition(":")[0],
            "symbol": key.partition(":")[2],
            "base": "B",
            "quote": "USDT",
            "meta": {},
            "checked_at": EARLIER_MS if key == stale else NOW_MS,
            "stale_since": NOW_MS if key == stale else None,
            "rows": [list(row) for row in (before if key == stale else now).rows[key].values()],
        }
        for key in keys
    ]
    document = {
        "timeframe": name,
        "interval_ms": INTERVALS_MS[name],
        "version": NOW_MS + 3,
        "as_of": NOW_MS,
        "updated_at": NOW_MS,
        "last_closed_open_time": last_closed(name, NOW_MS),
        "source": "aggregated" if name == "8h" else "collected",
        "columns": list(COLUMNS),
        "markets": markets,
        "missing": [
            {
                "exchange": stale.partition(":")[0],
                "symbol": stale.partition(":")[2],
                "part": "klines",
                "reason": "no answer",
            }
        ],
    }
    funding = {key: KnownFunding(NOW_MS, 1, 0) for key in keys}
    facts = Facts(
        CANDLES, {NOW_MS: now, EARLIER_MS: before}, [NOW_MS], funding, required=frozenset(keys)
    )
    return CheckedDocument(document, facts)


def _market(document: Any, index: int = 1) -> Any:
    return document["markets"][index]


def _row(index: int, column: str, change: Callable[[Any], Any]) -> Spoil:
    """One number of one row of a fresh market."""
    place = COLUMNS.index(column)

    def spoil(document: Any) -> None:
        row = _market(document)["rows"][index]
        row[place] = change(row[place])

    return spoil


def _set(name: str, value: Any, index: int | None = None) -> Spoil:
    def spoil(document: Any) -> None:
        (document if index is None else _market(document, index))[name] = value

    return spoil


def _more(value: float) -> float:
    return value * (1 + 2**-50)


def _unlisted(document: Any) -> None:
    document["missing"].clear()


def _cut_market(document: Any) -> None:
    del document["markets"][2]


def _swap_markets(document: Any) -> None:
    document["markets"][1:3] = document["markets"][2:0:-1]


def _swap_rows_of_markets(document: Any) -> None:
    first, second = _market(document, 1), _market(document, 2)
    first["rows"], second["rows"] = second["rows"], first["rows"]


def _swap_rows(document: Any) -> None:
    rows = _market(document)["rows"]
    rows[4], rows[5] = rows[5], rows[4]


def _lose_row(document: Any) -> None:
    del _market(document)["rows"][7]


def _double_row(document: Any) -> None:
    rows = _market(document)["rows"]
    rows.insert(7, list(rows[7]))


def _invent_row(document: Any) -> None:
    rows = _market(document)["rows"]
    rows.append([rows[-1][0] + INTERVALS_MS[NAME], *rows[-1][1:]])


def _unmark(document: Any) -> None:
    """Carried over, and passed off as of now."""
    _market(document, 0).update(checked_at=NOW_MS, stale_since=None)
    _unlisted(document)


def _drop_mark(document: Any) -> None:
    _market(document, 0)["stale_since"] = None


def _old_forming(document: Any) -> None:
    """The newest candle of a minute ago in a document of now."""
    stale, fresh = _market(document, 0), _market(document, 1)
    fresh["rows"][-1][1:7] = stale["rows"][-1][1:7]


PLANTED: Final[dict[str, Spoil]] = {
    "another price": _row(10, "close", _more),
    "another open": _row(0, "open", _more),
    "another high": _row(30, "high", _more),
    "another low": _row(30, "low", _more),
    "another volume": _row(-1, "volume", _more),
    "another turnover": _row(-2, "turnover", _more),
    "another open interest": _row(20, "open_interest", _more),
    "no open interest": _row(20, "open_interest", lambda value: None),
    "another rate": _row(40, "funding_rate", lambda rate: rate + 1e-8),
    "no rate": _row(40, "funding_rate", lambda rate: None),
    "a row off the grid": _row(12, "open_time", lambda time: time + 1),
    "rows unsorted": _swap_rows,
    "a row lost": _lose_row,
    "a row twice": _double_row,
    "a row of the future": _invent_row,
    "a market lost": _cut_market,
    "markets unsorted": _swap_markets,
    "rows of another market": _swap_rows_of_markets,
    "carried over, and not marked": _unmark,
    "carried over, the mark dropped": _drop_mark,
    "carried over, and not in missing": _unlisted,
    "marked, and fresh": _set("stale_since", NOW_MS, 1),
    "checked at another time": _set("checked_at", EARLIER_MS, 1),
    "an older newest candle": _old_forming,
    "a version below as_of": _set("version", NOW_MS - 1),
    "another as_of": _set("as_of", EARLIER_MS),
    "another closed candle": _set("last_closed_open_time", NOW_MS),
    "another timeframe": _set("timeframe", "2h"),
    "another source": _set("source", "aggregated"),
    "no columns": _set("columns", []),
    "a field too many": _set("more", 1),
    "a market nobody trades": _set("symbol", "0NOBODYUSDT", 0),
}


def test_a_document_of_the_truth_has_no_problem(checked: CheckedDocument) -> None:
    assert checked.problems() == []
    compared = check_candles(NAME, checked.document, checked.facts).compared
    rows = sum(len(market["rows"]) for market in checked.document["markets"])
    assert rows > 6 * CANDLES
    assert compared["rows"] == rows
    assert compared["open interest"] + compared["open interest: null"] == rows
    assert compared["open interest"] > rows * 0.9
    assert compared["funding"] + compared["funding: null"] == rows
    assert compared["funding"] > rows * 0.9


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_found(checked: CheckedDocument, planted: str) -> None:
    assert checked.problems(PLANTED[planted]) != []


def test_a_settled_document_lacks_nothing(checked: CheckedDocument) -> None:
    facts = checked.facts
    settled = Facts(
        facts.candles, facts.truths, facts.instants, facts.funding, facts.required, True
    )
    problems = check_candles(NAME, checked.document, settled).problems
    assert any("stale" in problem for problem in problems)
    assert any("missing" in problem for problem in problems)


def test_8h_is_held_against_its_own_truth(module_simulator: Simulator) -> None:
    checked = asyncio.run(_checked(module_simulator, "8h"))
    assert checked.problems(name="8h") == []
    assert checked.problems(_row(5, "volume", _more), "8h") != []
    assert checked.problems(_row(-1, "close", _more), "8h") != []


@pytest.mark.parametrize("name", ["5m", "4h", "8h"])
def test_the_newest_row_may_be_of_any_moment_until_the_document_was_written(
    module_simulator: Simulator, name: str
) -> None:
    """The exchanges' clock moves on while a collection runs, here beyond the candle's end."""
    moments = [NOW_MS, NOW_MS + 40_000, NOW_MS + 2 * INTERVALS_MS["4h"]]

    async def look() -> None:
        book, session = await _book(module_simulator)
        try:
            truth = await book.candles_at(name, NOW_MS, moments)
            open_ms = NOW_MS - NOW_MS % INTERVALS_MS[name]
            key = next(iter(truth.rows))
            first, later, final = truth.rows[key][open_ms], *truth.forming[key]
            assert first[0] == later[0] == final[0] or name == "8h"
            assert first[5] < later[5] < final[5]
            made_of_name = "4h" if name == "8h" else name
            made_of = await book.candles_at(made_of_name, open_ms + 2 * INTERVALS_MS[name])
            expected = made_of.rows[key]
            if name == "8h":  # 14:37 is in its second half
                halves = [expected[open_ms], expected[open_ms + INTERVALS_MS["4h"]]]
                assert final[4] == halves[1][4]
                assert final[2] == max(half[2] for half in halves)
                assert final[5] == pytest.approx(sum(half[5] for half in halves), rel=1e-12)
            else:
                assert final[1:7] == expected[open_ms][1:7]
        finally:
            await book.aclose()
            await session.close()

    asyncio.run(look())


def test_funding_documents(module_simulator: Simulator) -> None:
    async def look() -> None:
        book, session = await _book(module_simulator)
        try:
            settlements = {NOW_MS: await book.settlements_at(NOW_MS)}
        finally:
            await book.aclose()
            await session.close()
        document: dict[str, Any] = {
            "timeframe": GLOBAL_FR,
            "interval_ms": None,
            "version": NOW_MS,
            "as_of": NOW_MS,
            "updated_at": NOW_MS,
            "last_closed_open_time": None,
            "source": "collected",
            "columns": ["funding_time", "funding_rate"],
            "markets": [
                {
                    "exchange": key.partition(":")[0],
                    "symbol": key.partition(":")[2],
                    "base": "B",
                    "quote": "USDT",
                    "interval_hours": 8,
                    "checked_at": NOW_MS,
                    "rows": [list(row) for row in rows],
                }
                for key, rows in sorted(settlements[NOW_MS].items())
            ],
            "missing": [],
        }
        required = frozenset(settlements[NOW_MS])
        found = check_funding_document(document, settlements, required=required, settled=True)
        assert found.problems == []
        assert found.compared["settlements"] >= 8 * 30
        spoils: list[Spoil] = [
            lambda spoilt: spoilt["markets"][2]["rows"].pop(),
            lambda spoilt: spoilt["markets"][2]["rows"][5].__setitem__(1, 0.5),
            lambda spoilt: spoilt["markets"][2]["rows"][5].__setitem__(0, 1),
            lambda spoilt: spoilt["markets"].pop(),
            lambda spoilt: spoilt["markets"][1].update(interval_hours=3),
            lambda spoilt: spoilt["markets"].reverse(),
            lambda spoilt: spoilt.update(source="aggregated"),
        ]
        for spoil in spoils:
            spoilt = copy.deepcopy(document)
            spoil(spoilt)
            assert check_funding_document(spoilt, settlements, required=required).problems != []

    asyncio.run(look())


def test_funding_that_cannot_be_known_yet_is_null_and_only_that(checked: CheckedDocument) -> None:
    """Checked an hour and more ago: what ended before the next settlement has its rate."""
    document = copy.deepcopy(checked.document)
    fresh = _market(document)
    key = f"{fresh['exchange']}:{fresh['symbol']}"
    last_ms = fresh["rows"][-1][0]
    facts = Facts(
        CANDLES, checked.facts.truths, [NOW_MS],
        {**(checked.facts.funding or {}), key: KnownFunding(last_ms - 1, 1, 0)},
        checked.facts.required,
    )  # fmt: skip
    fresh["rows"][-1][8] = None
    assert check_candles(NAME, document, facts).problems == []
    fresh["rows"][-2][8] = None
    assert check_candles(NAME, document, facts).problems != []


def test_parts_of_documents(checked: CheckedDocument) -> None:
    document = checked.document
    some = document["markets"][3]
    part = cut(
        document,
        {"exchange": some["exchange"], "symbol": [some["symbol"]], "closed": True, "limit": 2},
    )
    closed = [row for row in some["rows"] if row[0] <= document["last_closed_open_time"]]
    assert part["markets"] == [{**some, "rows": closed[-2:]}]
    assert part["missing"] == []
    assert part["version"] == document["version"]
    since = document["as_of"] - 3 * INTERVALS_MS[NAME]
    assert all(len(m["rows"]) == 3 for m in cut(document, {"since": since})["markets"][1:])


def test_a_row_that_is_left_out_has_to_be_told(checked: CheckedDocument) -> None:
    document = copy.deepcopy(checked.document)
    fresh = [m for m in document["markets"] if m["stale_since"] is None and len(m["rows"]) > 5]
    hole = fresh[0]["rows"].pop(3)[0]

    def problems(reason: str) -> list[str]:
        lack = {name: fresh[0][name] for name in ("exchange", "symbol")}
        lack |= {"part": "klines", "reason": reason}
        told = {**document, "missing": [*document["missing"], lack]}
        return check_candles(NAME, told, checked.facts).problems

    assert problems(f"row at {hole + 5} left out: off the grid") == []
    assert problems(f"row after {hole - 3_600_000} left out: no time") == []
    assert problems(f"row at {hole + 3_600_000} left out: so")
    assert problems("no answer within 10 s")


def _truth_at(simulator: Simulator, *times_ms: int) -> dict[int, Truth]:
    async def ask() -> dict[int, Truth]:
        book, session = await _book(simulator)
        try:
            return {at_ms: await book.candles_at(NAME, at_ms) for at_ms in times_ms}
        finally:
            await book.aclose()
            await session.close()

    return asyncio.run(ask())


def _with_rows(checked: CheckedDocument, truth: Truth, index: int, **fields: Any) -> Any:
    document = copy.deepcopy(checked.document)
    market = _market(document, index)
    key = f"{market['exchange']}:{market['symbol']}"
    rows = [list(row) for row in truth.rows[key].values()]
    market.update(fields, rows=rows)
    return document


def test_rows_made_of_what_had_just_been_read_are_of_that_moment(
    module_simulator: Simulator, checked: CheckedDocument
) -> None:
    before_ms = NOW_MS - 30_000
    truths = _truth_at(module_simulator, before_ms)
    facts = replace(checked.facts, truths={**checked.facts.truths, **truths})
    document = _with_rows(checked, truths[before_ms], 1, checked_at=before_ms)
    assert check_candles(NAME, document, facts).problems == []
    document["markets"][1]["rows"][-1][4] *= 1.01
    assert check_candles(NAME, document, facts).problems != []


def test_beside_rows_carried_over_there_may_be_true_ones_of_since(
    module_simulator: Simulator, checked: CheckedDocument
) -> None:
    hour_ms = INTERVALS_MS[NAME]
    before_ms = NOW_MS - 3 * hour_ms
    truths = _truth_at(module_simulator, before_ms)
    facts = replace(checked.facts, truths={**checked.facts.truths, **truths})
    now = facts.truths[NOW_MS]
    document = _with_rows(checked, now, 0, checked_at=before_ms, stale_since=before_ms + hour_ms)
    market = _market(document, 0)
    assert check_candles(NAME, document, facts).problems == []
    hole = market["rows"].pop(-3)  # its closing is not known
    assert check_candles(NAME, document, facts).problems == []
    market["rows"][-2][4] *= 1.01
    assert check_candles(NAME, document, facts).problems != []
    market["rows"][-2][4] /= 1.01
    kept = market["rows"].pop(-5)  # it was there before
    assert kept[0] < before_ms - hour_ms < hole[0]
    assert check_candles(NAME, document, facts).problems != []


def test_a_candle_that_is_corrected_may_be_shown_as_before_for_a_minute(
    checked: CheckedDocument,
) -> None:
    key = sorted(checked.facts.truths[NOW_MS].rows)[1]
    slot_ms = NOW_MS - NOW_MS % 300_000 - 300_000

    def problems(slot_ms: int, row: int) -> list[str]:
        document = copy.deepcopy(checked.document)
        _row(row, "volume", _more)(document)
        facts = replace(checked.facts, corrected={key: {slot_ms}})
        return check_candles(NAME, document, facts).problems

    assert slot_ms + 300_000 + 60_000 < NOW_MS
    assert problems(slot_ms, -1) != []  # it had been read again
    assert problems(slot_ms + 300_000, -1) == []
    assert problems(slot_ms + 300_000, -2) != []


@pytest.mark.parametrize(
    ("name", "as_of", "behind"),
    [
        ("1h", "14:36", False),
        ("1h", "14:23", False),
        ("1h", "14:22", True),
        ("1h", "13:59", True),
        ("15m", "14:31", False),
        ("15m", "14:29", True),
        ("1d", "14:23", False),
        ("5m", "14:38", False),
    ],
)
def test_a_document_lags_once_a_candle_has_closed_or_a_quarter_of_an_hour_has_passed(
    name: str, as_of: str, behind: bool
) -> None:
    day_ms = NOW_MS - NOW_MS % 86_400_000
    hours, minutes = map(int, as_of.split(":"))
    assert bool(lags(name, day_ms + (60 * hours + minutes) * 60_000, NOW_MS)) is behind
    assert (NOW_MS - day_ms) // 60_000 == 14 * 60 + 37
