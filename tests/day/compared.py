"""Documents of a day against the true data, row by row, and what faults may excuse.

The rows are compared by chaos/checks.py, which shares no code with the product.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from chaos.checks import (
    HOUR_MS,
    INTERVALS_MS,
    Facts,
    Findings,
    KnownFunding,
    Row,
    Truth,
    check_candles,
)
from chaos.left_out_rows import failures
from chaos.truth import MarketTruth
from tests.day.faults import Fault
from tests.fixtures.simulator import Simulator

NOT_FETCHED_YET: Final = "not fetched yet"
_NO_FUNDING: Final = "its funding has not been fetched yet"
NOT_CLOSED_YET: Final = "the exchange has not said yet that its candle is closed"
_NOT_ASKED: Final = "it was not asked for, as the candles could not be read"
_LATE_INTEREST: Final = "it did not come in time, and follows in the next version"
# How old a forming candle of a stream may be: they are told of every 5 s, by a feed that is woken
# up to 10 s late (clock.py), and those of a market that is not proven are not used after 10 s.
_STREAMED_MS: Final = 25_000
_NONE_VALID: Final = " rows is valid: "
_DAY_MS: Final = 24 * HOUR_MS
_FRESH_MS: Final = 60_000
_ALL_OUT_MS: Final = 600_000  # every snapshot is published this long after its time
_NEWEST: Final = 4  # rows that are not older than that
_M5: Final = INTERVALS_MS["5m"]


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of the runs at one `as_of`: when the last of them ended, the funding that was
    known when the first began, the faults meanwhile, and the markets that had to be collected."""

    ended_ms: int
    funding: Mapping[str, KnownFunding] | None
    faults: Sequence[Fault]
    required: Collection[str]
    candles: int


class Comparison:
    """Compares documents. `odd`: markets of which rows that cannot be were sent, by key or by
    exchange. `streamed`: candles may come by streams: forming ones are some seconds old then or
    lack, closed ones are not read again when they are corrected."""

    def __init__(self, exchanges: Simulator, *, settlements: int, streamed: bool = False) -> None:
        self._exchanges = exchanges
        self._streamed = streamed
        self._settlements = settlements
        self.symbols: set[str] = set()
        self.odd: set[str] = set()
        self.corrections: list[tuple[str, int, int]] = []  # market, candle, time of the change

    def corrected(self, key: str, slot_ms: int, now_ms: int) -> None:
        self.corrections.append((key, slot_ms, now_ms))

    def is_odd(self, lack: Mapping[str, Any]) -> bool:
        """Whether a market lacks all candles because rows that cannot be are all that it has."""
        key = f"{lack['exchange']}:{lack['symbol']}"
        return key in self.odd and _NONE_VALID in lack["reason"]

    async def problems(
        self, name: str, document: Mapping[str, Any], runs: Mapping[int, Run], *, is_last: bool
    ) -> tuple[list[str], Findings]:
        """What is wrong with a document; `runs` by their `as_of`. `is_last`: no other one of the
        same run follows, which would have what this one did not wait for."""
        as_of_ms = document["as_of"]
        run = runs[as_of_ms]
        truth = MarketTruth(self._ask, candles=run.candles, settlements=self._settlements)
        truth.symbols |= self.symbols
        truths = {
            at_ms: await self._truth(truth, name, document, at_ms, runs)
            for at_ms in {market["checked_at"] for market in document["markets"]} | {as_of_ms}
            if at_ms in runs
        }
        document = _fresh_as_checked(document, truths)
        document, wrong = await self._without_later_rows(truth, name, document, runs)
        facts = Facts(run.candles, truths, [as_of_ms, run.ended_ms], run.funding, run.required)
        findings = check_candles(name, document, facts)
        problems = [*wrong, *findings.problems, *self._unexcused(document, run, is_last=is_last)]
        return [f"{name} as of {as_of_ms}: {problem}" for problem in problems], findings

    async def _truth(
        self, truth: MarketTruth, name: str, document: Mapping[str, Any], at_ms: int,
        runs: Mapping[int, Run],
    ) -> Truth:  # fmt: skip
        """The truth at one time, with the document's forming rows where they can be."""
        as_of_ms = document["as_of"]
        # Old rows were kept through all runs since, whatever HISTORY_CANDLES was.
        since = [run.candles for moment, run in runs.items() if at_ms <= moment <= as_of_ms]
        found = await _candles_at(truth, name, at_ms, min(since))
        interval_ms = INTERVALS_MS[name]
        # Of a market that is held up the row may be of any pass since, as its base may know it.
        forming_ms, ended_ms = at_ms - at_ms % interval_ms, runs[as_of_ms].ended_ms
        later = await truth.rows(name, ended_ms, ended_ms, 3 + (ended_ms - at_ms) // interval_ms)
        early_ms = at_ms - _STREAMED_MS
        early = await truth.rows(name, early_ms, early_ms, 3) if self._streamed else found.rows
        forming, rows = {}, dict(found.rows)
        for market in document["markets"]:
            key = f"{market['exchange']}:{market['symbol']}"
            row = next((row for row in market["rows"][-2:] if row[0] == forming_ms), None)
            first = early.get(key, {}).get(forming_ms)
            last = later.get(key, {}).get(forming_ms)
            if market["checked_at"] != at_ms:
                continue
            if row and last and _is_between(row, first, last):
                forming[key] = [row]
            elif row is None and self._streamed and not _is_traded(first):
                known = found.rows.get(key, {})
                rows[key] = {time: row for time, row in known.items() if time != forming_ms}
        visible = dict(found.visible)
        if self._streamed:  # no pass waits for the open interest of forming rows
            for key, times in visible.items():
                visible[key] = frozenset(time for time in times if time + interval_ms <= at_ms)
        self._forgive_corrections(name, document, at_ms, rows)
        return replace(found, rows=rows, visible=visible, forming=forming)

    async def _without_later_rows(
        self, truth: MarketTruth, name: str, document: Mapping[str, Any], runs: Mapping[int, Run]
    ) -> tuple[Mapping[str, Any], list[str]]:
        """The document without the rows of markets that are held up which are later than their
        `checked_at` tells, as bases know them; and what is wrong with these."""
        as_of_ms, interval_ms = document["as_of"], INTERVALS_MS[name]
        now = await self._truth(truth, name, {**document, "markets": []}, as_of_ms, runs)
        ended_ms = runs[as_of_ms].ended_ms
        last = await truth.rows(name, ended_ms, ended_ms, 3 + (ended_ms - as_of_ms) // interval_ms)
        forming_ms, markets, wrong = as_of_ms - as_of_ms % interval_ms, [], []
        for market in document["markets"]:
            known_ms = market["checked_at"] - market["checked_at"] % interval_ms
            if market["stale_since"] is None or known_ms == forming_ms:
                markets.append(market)
                continue
            key = f"{market['exchange']}:{market['symbol']}"
            later = [row for row in market["rows"] if row[0] >= known_ms]
            markets.append({**market, "rows": market["rows"][: len(market["rows"]) - len(later)]})
            for row in later:
                true = now.rows.get(key, {}).get(row[0])
                end = last.get(key, {}).get(row[0])
                # The forming row is as the base last knew it.
                if row[0] == forming_ms and end is not None and _is_between(row, None, end):
                    continue
                if true is None or row[1:7] != true[1:7] or row[7] not in (None, true[7]):
                    wrong.append(f"{key}: row {row}, expected {true}")
        return {**document, "markets": markets}, wrong

    def _forgive_corrections(
        self, name: str, document: Mapping[str, Any], at_ms: int, rows: Mapping[str, Any]
    ) -> None:
        """Of markets that were read before a candle was corrected, the rows that hold it count as
        they are: what they showed then is not known any more."""
        interval_ms = INTERVALS_MS[name]
        # Of those that are not read again it is found by an audit, within a day.
        since_ms = at_ms - _DAY_MS if self._streamed else at_ms
        after = [(key, slot_ms) for key, slot_ms, then_ms in self.corrections if then_ms > since_ms]
        for market in document["markets"] if after else ():
            key = f"{market['exchange']}:{market['symbol']}"
            if market["checked_at"] != at_ms:
                continue
            ours = {row[0]: row for row in market["rows"]}
            for slot_ms in (slot_ms for corrected, slot_ms in after if corrected == key):
                open_ms = slot_ms - slot_ms % interval_ms
                if open_ms in ours and open_ms in rows.get(key, {}):
                    true = rows[key][open_ms]
                    rows[key][open_ms] = [*ours[open_ms][:7], *true[7:]]

    def _unexcused(self, document: Mapping[str, Any], run: Run, *, is_last: bool) -> list[str]:
        """What the document lacks though nothing held it up."""
        found = []
        failed = failures(document)
        for lack in document["missing"]:
            exchange, symbol, part = lack["exchange"], lack["symbol"], lack["part"]
            key = f"{exchange}:{symbol}"
            if lack not in failed:
                excused = key in self.odd or exchange in self.odd
            elif self.is_odd(lack):
                excused = True
            elif lack["reason"] in (NOT_CLOSED_YET, _LATE_INTEREST, _NOT_ASKED):
                # Where a fault held up the candles, open interest is not asked for.
                faults = run.faults if lack["reason"] == _NOT_ASKED else ()
                excused = not is_last or any(
                    fault.excuses(exchange, symbol, "klines") for fault in faults
                )
            elif lack["reason"] == NOT_FETCHED_YET and part == "open_interest":
                excused = True  # until the job that fills it in has ended
            elif lack["reason"] == _NO_FUNDING:
                excused = run.funding is None or key not in run.funding
            else:
                excused = any(fault.excuses(exchange, symbol, part) for fault in run.faults)
            if not excused:
                found.append(f"{key} lacks {part} without a fault: {lack['reason']:.150}")
        return found[:5]

    async def _ask(self, path: str) -> Any:
        status, _, body = await asyncio.to_thread(self._exchanges.full, "GET", path)
        assert status == 200, body
        return orjson.loads(body)


async def _candles_at(truth: MarketTruth, name: str, at_ms: int, candles: int) -> Truth:
    """As MarketTruth.candles_at, which asks twice for all rows: only the newest snapshots may be
    unpublished."""
    rows = await truth.rows(name, at_ms, at_ms + _ALL_OUT_MS, candles)
    seen = await truth.rows(name, at_ms, at_ms, _NEWEST)
    out_ms = at_ms - _ALL_OUT_MS
    visible = {
        key: frozenset(
            time
            for time in market
            if time < out_ms or ((row := seen.get(key, {}).get(time)) and row[7] is not None)
        )
        for key, market in rows.items()
    }
    return Truth(rows, visible)


def _is_traded(row: Row | None) -> bool:
    return row is not None and row[5] > 0


def _is_between(row: Row, first: Row | None, last: Row) -> bool:
    """Whether a candle was so at some time between two of its states."""
    if first is None:
        first = [last[0], last[1], last[1], last[1], last[1], 0.0, 0.0]
    if first[1:7] == last[1:7]:
        return row[1:7] == last[1:7]
    grows = all(first[i] <= row[i] <= last[i] for i in (2, 5, 6))
    return row[1] == last[1] and grows and last[3] <= row[3] <= first[3] and (
        row[3] <= row[4] <= row[2]
    )  # fmt: skip


def _fresh_as_checked(document: Mapping[str, Any], truths: dict[int, Truth]) -> Mapping[str, Any]:
    """The document as if markets whose base was fresh had been read at `as_of`: they are compared
    with what was true then, which is written into the truth of `as_of`."""
    as_of_ms, markets = document["as_of"], []
    for market in document["markets"]:
        at_ms = market["checked_at"]
        is_fresh = 0 < as_of_ms - at_ms < _FRESH_MS and as_of_ms // _M5 == at_ms // _M5
        if market["stale_since"] is None and is_fresh and at_ms in truths:
            key = f"{market['exchange']}:{market['symbol']}"
            then, now = truths[at_ms], truths[as_of_ms]
            truths[as_of_ms] = Truth(
                {**now.rows, key: then.rows.get(key, {})},
                {**now.visible, key: then.visible.get(key, ())},
                {**now.forming, key: then.forming.get(key, ())},
            )
            market = {**market, "checked_at": as_of_ms}
        markets.append(market)
    return {**document, "markets": markets}


def known_funding(
    document: Mapping[str, Any] | None, now_ms: int
) -> dict[str, KnownFunding] | None:
    """The funding that a funding document shows."""
    if document is None:
        return None
    found = {}
    for market in document["markets"]:
        checked_at, hours = market["checked_at"], market["interval_hours"]
        times = [row[0] for row in market["rows"]]
        # Newer settlements may replace the oldest ones.
        newer = 1 + max(0, now_ms - checked_at) // (hours * HOUR_MS)
        first_ms = times[min(newer, len(times) - 1)] if times else now_ms
        key = f"{market['exchange']}:{market['symbol']}"
        found[key] = KnownFunding(checked_at, hours, first_ms)
    return found
