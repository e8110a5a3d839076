"""Pure checks of documents: their fields, and every row against the exchanges' true data.

They share no code with the product: documents are checked against their documented format. Each
check returns the problems that it found, as text.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from chaos.left_out_rows import failures, holes, market_key, settlements_left

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
INTERVALS_MS: Final = {
    "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS, "1h": HOUR_MS,
    "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS, "6h": 6 * HOUR_MS, "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS, "1d": 24 * HOUR_MS,
}  # fmt: skip
GLOBAL_FR: Final = "global_fr"
DOCUMENTS: Final = (*INTERVALS_MS, GLOBAL_FR)
COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "turnover", "open_interest",
    "funding_rate",
)  # fmt: skip
# Those that TRADE_COLUMNS=on adds.
TRADES: Final = ("trades", "taker_buy_volume", "taker_buy_turnover")
# Binance serves no older open interest; snapshots may pass this age during a collection.
OI_HORIZON_MS: Final = 30 * 24 * HOUR_MS
_HEADER: Final = (
    "timeframe", "interval_ms", "version", "as_of", "updated_at", "last_closed_open_time",
    "source", "columns", "markets", "missing",
)  # fmt: skip
_MARKET: Final = frozenset(
    ("exchange", "symbol", "base", "quote", "meta", "checked_at", "stale_since", "rows")
)
_PARTS: Final = frozenset(("klines", "open_interest", "funding_rate", "listing"))
# Candles of all timeframes are made of those of 5m. They count as read now for so long.
M5_MS: Final = INTERVALS_MS["5m"]
_FRESH_MS: Final = MINUTE_MS
# For so long after its close a candle may change; one read before is read again.
_FINAL_AFTER_MS: Final = MINUTE_MS
# A collection of all timeframes publishes a document of this age even if nothing closed in it.
_OLD_MS: Final = 15 * MINUTE_MS
_MOST_ROWS: Final = 3  # problems reported for the rows of one market

Row = Sequence[Any]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Truth:
    """The exchanges' true data for a collection at one time, by market ("exchange:symbol").

    `rows` have all open interest, published yet or not; `visible` has the times whose snapshot was
    published at that time; `forming` has the states of the newest row until the document was
    written, as the exchanges' clock may advance meanwhile. Where time flows (`least` is not None)
    it has the last one, and the row may be as at any moment until then: it has no less than
    `least`, its closed 5m candles, without which it may be absent.
    """

    rows: Mapping[str, Mapping[int, Row]]
    visible: Mapping[str, Collection[int]]
    forming: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    least: Mapping[str, Row] | None = None


@dataclass(frozen=True, slots=True)
class KnownFunding:
    """One market of a funding document."""

    checked_at: int
    interval_hours: int
    first_ms: int  # its oldest settlement

    @property
    def unknown_from_ms(self) -> int:
        """The time of the first settlement that may be missing in the document."""
        step_ms = self.interval_hours * HOUR_MS
        return self.checked_at - self.checked_at % step_ms + step_ms


@dataclass(frozen=True, slots=True)
class Facts:
    """The data that a candle document is compared with.

    `truths`: by time, for `as_of` and each `checked_at` of the document. `instants`: times of the
    exchanges' clock from `as_of` until the document was written. `funding`: the funding known for
    certain when its collection began, or None. `required`: markets that must be in the document or
    in its `missing`. `settled`: no faults are active, so nothing may be missing. `corrected`: by
    market the open times of 5m candles that were changed within a minute of their close.
    """

    candles: int
    truths: Mapping[int, Truth]
    instants: Sequence[int]
    funding: Mapping[str, KnownFunding] | None = None
    required: Collection[str] = ()
    settled: bool = False
    corrected: Mapping[str, Collection[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """Problems found; `compared` counts the compared values, to show that checks took place."""

    problems: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)

    def add(self, problem: str) -> None:
        self.problems.append(problem)


def window_start(name: str, as_of_ms: int, candles: int) -> int:
    """The start of a document's window; 8h, made of 4h, reaches as far back as 4h."""
    interval_ms = INTERVALS_MS["4h" if name == "8h" else name]
    return as_of_ms - as_of_ms % interval_ms - (candles - 1) * interval_ms


def last_closed(name: str, as_of_ms: int) -> int:
    interval_ms = INTERVALS_MS[name]
    return as_of_ms - as_of_ms % interval_ms - interval_ms


def lags(name: str, as_of_ms: int, collected_ms: int) -> str:
    """How a document lags behind a collection of all timeframes at `collected_ms`, if it does."""
    if last_closed(name, as_of_ms) < last_closed(name, collected_ms):
        closed = "a candle has closed since"
    elif collected_ms - as_of_ms >= _OLD_MS:
        closed = f"it is {(collected_ms - as_of_ms) / MINUTE_MS:.0f} minutes old"
    else:
        return ""
    return f"{name} is as of {as_of_ms}, all timeframes were collected at {collected_ms}: {closed}"


def check_header(name: str, document: Document) -> list[str]:
    """Checks the header fields of a document, the order of its markets, and `missing`."""
    if tuple(document) != _HEADER:
        return [f"fields {list(document)}"]
    problems = []
    as_of_ms, version = document["as_of"], document["version"]
    funding = name == GLOBAL_FR
    wide = len(document["columns"]) > len(COLUMNS)
    expected = {
        "timeframe": name,
        "interval_ms": None if funding else INTERVALS_MS[name],
        "last_closed_open_time": None if funding else last_closed(name, as_of_ms),
        "source": "aggregated" if name == "8h" else "collected",
        "columns": ["funding_time", "funding_rate"] if funding else [*COLUMNS, *TRADES * wide],
    }
    problems += [
        f"{field_name} is {document[field_name]!r}, not {value!r}"
        for field_name, value in expected.items()
        if document[field_name] != value
    ]
    if version < as_of_ms:
        problems.append(f"version {version} is below as_of {as_of_ms}")
    places = [(market["exchange"], market["symbol"]) for market in document["markets"]]
    if any(first >= second for first, second in pairwise(places)):
        problems.append("markets are not sorted, or not unique")
    for lack in document["missing"]:
        if lack["part"] not in _PARTS or not lack["reason"]:
            problems.append(f"an invalid entry of missing: {lack}")
    return problems


def check_candles(name: str, document: Document, facts: Facts) -> Findings:
    """Checks a whole candle document against the true data."""
    findings = Findings(check_header(name, document))
    if findings.problems:
        return findings
    lacks = {(f"{lack['exchange']}:{lack['symbol']}", lack["part"]) for lack in document["missing"]}
    failed = {market_key(lack) for lack in failures(document) if lack["part"] == "klines"}
    left_out = holes(document, "klines", INTERVALS_MS["4h" if name == "8h" else name])
    absent = _absent_exchanges(document)
    present = set()
    for market in document["markets"]:
        key = f"{market['exchange']}:{market['symbol']}"
        present.add(key)
        if frozenset(market) != _MARKET:
            findings.add(f"{key}: fields {list(market)}")
            continue
        named = frozenset(part for lacking, part in lacks if lacking == key)
        hollow = left_out.get(key, set())
        _check_market(name, key, market, document["as_of"], named, facts, findings, key in failed,
                      hollow)  # fmt: skip
    findings.compared["markets"] += len(present)
    for key in facts.required:
        told = (key, "klines") in lacks or key.partition(":")[0] in absent
        if key not in present and (facts.settled or not told):
            findings.add(f"{key} is neither in markets nor in missing")
    # A row that was left out stays told until it is asked for again.
    if facts.settled and (unexplained := failures(document)):
        findings.add(f"missing without any fault: {unexplained[:3]}")
    return findings


def _check_market(
    name: str, key: str, market: Document, as_of_ms: int, lacks: Collection[str], facts: Facts,
    findings: Findings, failed: bool, hollow: Collection[int],
) -> None:  # fmt: skip
    checked_at, stale_since = market["checked_at"], market["stale_since"]
    stale = stale_since is not None
    for problem in _freshness_problems(market, as_of_ms, failed, facts.settled):
        findings.add(f"{key}: {problem}")
    truth = facts.truths.get(checked_at)
    if truth is None or key not in truth.rows:
        findings.add(f"{key}: not traded, or no true data for {checked_at}")
        return
    since: Mapping[int, Row] = facts.truths[as_of_ms].rows.get(key, {}) if stale else {}
    times = [row[0] for row in market["rows"]]
    forming_ms = checked_at - checked_at % INTERVALS_MS[name]
    states = [*truth.forming.get(key, ())]
    expected = _with_newest(truth, key, forming_ms, times)
    if stale:
        first_ms = window_start(name, as_of_ms, facts.candles)
        gone_ms = last_closed(name, checked_at), last_closed(name, as_of_ms)
        expected = {
            time: row
            for time, row in expected.items()
            if time >= first_ms and not gone_ms[0] < time <= gone_ms[1]
        }
        # Of a forming 8h candle nothing is known once its first 4h candle has closed unseen.
        halves = (last_closed("4h", moment) for moment in (checked_at, as_of_ms))
        if name == "8h" and forming_ms not in times and len({*halves}) > 1:
            expected.pop(forming_ms, None)
        # Other requests may have brought what has come since.
        come = {time: row for time, row in since.items() if time > gone_ms[0] and time in times}
        expected = {**come, **expected}
    # Of a longer candle only a part may lack; neither its presence nor its numbers are certain.
    partly = {time - time % INTERVALS_MS[name] for time in hollow}
    expected = {time: row for time, row in expected.items() if time in times or time not in partly}
    if times != sorted(expected):
        findings.add(f"{key}: {_difference(times, sorted(expected))}")
        return
    certain = [row for row in market["rows"] if row[0] not in partly]
    changing = {
        slot_ms - slot_ms % INTERVALS_MS[name]
        for slot_ms in facts.corrected.get(key, ())
        if checked_at < slot_ms + M5_MS + _FINAL_AFTER_MS
    }
    reported = 0
    for row in certain:
        forming = states if row[0] == forming_ms else ()
        if row[0] in since and row[0] > last_closed(name, as_of_ms):
            forming = (*forming, since[row[0]], *facts.truths[as_of_ms].forming.get(key, ()))
        if row[0] in changing:
            findings.compared["rows that may be corrected"] += 1
            continue
        # What a run before brought of a candle that has begun since then is carried over, too.
        begun_since = stale and row[0] > max(forming_ms, last_closed(name, as_of_ms))
        problem = _row_problem(row, expected[row[0]], forming, earlier=begun_since)
        if problem and not _is_between(truth, key, row, forming):
            reported += 1
            if reported <= _MOST_ROWS:
                findings.add(
                    f"{key}, checked at {checked_at}, stale since {stale_since}: {problem}"
                )
    findings.compared["rows"] += len(times)
    findings.compared["carried over"] += len(times) if stale else 0
    excused = stale and not facts.settled
    truth = replace(truth, rows={key: {**since, **truth.rows[key]}})
    _check_open_interest(name, key, certain, truth, "open_interest" in lacks or excused, facts,
                         findings)  # fmt: skip
    _check_funding(name, key, certain, truth, since, "funding_rate" in lacks or excused, facts,
                   findings)  # fmt: skip


def _with_newest(truth: Truth, key: str, forming_ms: int, times: Sequence[int]) -> dict[int, Row]:
    """The expected rows, with the newest one if it may be there and is, without it if it need not
    be there and is not."""
    expected, states = {**truth.rows[key]}, truth.forming.get(key, ())
    if forming_ms not in expected and times and times[-1] == forming_ms and states:
        expected[forming_ms] = states[0]
    if truth.least is not None and forming_ms not in times and key not in truth.least:
        expected.pop(forming_ms, None)  # of a candle that has just begun streams tell nothing yet
    return expected


def _freshness_problems(
    market: Document, as_of_ms: int, lacking: bool, settled: bool
) -> Iterator[str]:
    """Problems of `stale_since` and `checked_at`: set for carried-over rows, `as_of` for others, or
    a moment before if they were made of 5m candles that had just been read."""
    checked_at, stale_since = market["checked_at"], market["stale_since"]
    if (stale_since is not None) != lacking:
        yield f"stale_since {stale_since}, and klines in missing: {lacking}"
    if stale_since is None:
        fresh = checked_at // M5_MS == as_of_ms // M5_MS and as_of_ms - checked_at < _FRESH_MS
        if checked_at > as_of_ms or not fresh:
            yield f"not marked as stale, and checked at {checked_at}, not {as_of_ms}"
        return
    # All three may be equal while the exchanges' clock is frozen.
    if not checked_at <= stale_since <= as_of_ms:
        yield f"checked at {checked_at}, stale since {stale_since}, as_of {as_of_ms}"
    if settled:
        yield f"stale since {stale_since} without any fault"


def _difference(times: Sequence[int], expected: Sequence[int]) -> str:
    if any(first >= second for first, second in pairwise(times)):
        return "rows are not sorted, or not unique"
    extra = sorted(set(times) - set(expected))
    lacking = sorted(set(expected) - set(times))
    return f"{len(times)} rows of {len(expected)}; too many: {extra[:5]}, too few: {lacking[:5]}"


def is_earlier_state(row: Row, later: Row) -> bool:
    """Whether the row may be what its forming candle showed before it was as `later` shows it."""
    same_open: bool = row[1] == later[1]
    within = row[2] <= later[2] and row[3] >= later[3]
    return same_open and within and row[5] <= later[5] and bool(row[6] <= later[6])


def _is_between(truth: Truth, key: str, row: Row, states: Sequence[Row]) -> bool:
    """Whether flowing time may have shown a forming candle so, before one of `states`."""
    if truth.least is None:
        return False
    least = truth.least.get(key)
    is_of_it = least is not None and least[0] == row[0]
    after = least is None or not is_of_it or is_earlier_state(least, row)
    return after and any(is_earlier_state(row, state) for state in states)


def _row_problem(row: Row, expected: Row, states: Sequence[Row], *, earlier: bool) -> str:
    if len(row) not in (len(COLUMNS), len(COLUMNS) + len(TRADES)):
        return f"a row of {len(row)} columns: {row}"
    if row[1:7] == expected[1:7] or any(row[1:7] == state[1:7] for state in states):
        return ""
    if earlier and is_earlier_state(row, expected):
        return ""
    return f"row {row[:7]}, expected {expected[:7]}"


def _check_open_interest(
    name: str, key: str, certain: Sequence[Row], truth: Truth, excused: bool, facts: Facts,
    findings: Findings,
) -> None:  # fmt: skip
    kept_from_ms = 0
    if key.startswith("binance:") and facts.instants:
        kept_from_ms = facts.instants[-1] - OI_HORIZON_MS
    rows, visible = truth.rows[key], truth.visible.get(key, ())
    for row in certain:
        time, value = row[0], row[7]
        known = rows.get(time)
        expected = None if known is None else known[7]
        if value is None:
            if not excused and expected is not None and time in visible and time >= kept_from_ms:
                findings.add(f"{key}: open interest of {time} is null, not {expected}")
                return
            findings.compared["open interest: null"] += 1
        elif excused and expected is None and time < kept_from_ms:
            findings.compared["open interest: kept beyond the horizon"] += 1
        elif value != expected:
            findings.add(f"{key}: open interest of {time} is {value}, not {expected}")
            return
        else:
            findings.compared["open interest"] += 1


def _check_funding(
    name: str, key: str, certain: Sequence[Row], truth: Truth, since: Mapping[int, Row],
    excused: bool, facts: Facts, findings: Findings,
) -> None:  # fmt: skip
    """`since`: the true rows at the collection's time if these are older; rates are always new."""
    interval_ms = INTERVALS_MS[name]
    known = facts.funding.get(key) if facts.funding is not None else None
    for row in certain:
        time, rate = row[0], row[8]
        true = truth.rows[key].get(time)
        expected = None if true is None else true[8]
        if rate is None:
            findings.compared["funding: null"] += 1
            if expected is None or excused or known is None:
                continue
            old = time + interval_ms <= known.first_ms  # before the oldest kept settlement
            late = time + interval_ms > known.unknown_from_ms
            if not (old or (late and not facts.settled)):
                findings.add(f"{key}: funding of {time} is null, not {expected}")
                return
        elif rate != expected and (time not in since or rate != since[time][8]):
            findings.add(f"{key}: funding of {time} is {rate}, not {expected}")
            return
        else:
            findings.compared["funding"] += 1


def check_funding_document(
    document: Document,
    settlements: Mapping[int, Mapping[str, Sequence[Row]]],
    *,
    required: Collection[str] = (),
    settled: bool = False,
) -> Findings:
    """Checks the funding document; `settlements`: the true ones, by `checked_at` and market."""
    findings = Findings(check_header(GLOBAL_FR, document))
    if findings.problems:
        return findings
    lacks = {f"{lack['exchange']}:{lack['symbol']}" for lack in document["missing"]}
    absent = _absent_exchanges(document)
    present = set()
    for market in document["markets"]:
        key = f"{market['exchange']}:{market['symbol']}"
        present.add(key)
        expected = settlements.get(market["checked_at"], {}).get(key)
        if expected is None:
            findings.add(f"{key}: not traded, or no true data")
        else:
            rows = market["rows"]
            complete = settlements_left(expected, rows, document, key)
            if len(complete) < len(expected):  # an older one is kept in its place
                rows = rows[-len(complete) :]
            if rows != complete:
                findings.add(f"{key}: settlements {_rows_differ(market['rows'], complete)}")
        if market["interval_hours"] not in (1, 2, 4, 8):
            findings.add(f"{key}: an interval of {market['interval_hours']} hours")
        findings.compared["settlements"] += len(market["rows"])
    for key in required:
        told = key in lacks or key.partition(":")[0] in absent
        if key not in present and (settled or not told):
            findings.add(f"{key} is neither in markets nor in missing")
    if settled and (unexplained := failures(document)):
        findings.add(f"missing without any fault: {unexplained[:3]}")
    return findings


def _absent_exchanges(document: Document) -> set[str]:
    """The exchanges that brought nothing, as the document's `missing` tells."""
    return {lack["exchange"] for lack in document["missing"] if lack["symbol"] is None}


def _rows_differ(rows: Sequence[Row], expected: Sequence[Row]) -> str:
    unlike = [(ours, true) for ours, true in zip(rows, expected, strict=False) if ours != true]
    lacking = [row for row in expected if row not in rows]
    return f"{len(rows)} of {len(expected)}; first unlike: {unlike[:1]}; lacking: {lacking[-3:]}"


def cut(document: Document, query: Mapping[str, Any]) -> dict[str, Any]:
    """The expected answer to a filtered request, cut from the whole document of that version."""
    exchange, symbols = query.get("exchange"), query.get("symbol")

    def wanted(entry: Document) -> bool:
        return (exchange is None or entry["exchange"] == exchange) and (
            symbols is None or entry["symbol"] is None or entry["symbol"] in symbols
        )

    def rows(all_rows: Sequence[Row]) -> list[Row]:
        kept = [row for row in all_rows if row[0] >= query.get("since", 0)]
        if query.get("closed") and document["last_closed_open_time"] is not None:
            kept = [row for row in kept if row[0] <= document["last_closed_open_time"]]
        limit = query.get("limit")
        return kept if limit is None else kept[-limit:]

    return {
        **document,
        "markets": [
            {**market, "rows": rows(market["rows"])}
            for market in document["markets"]
            if wanted(market)
        ],
        "missing": [lack for lack in document["missing"] if wanted(lack)],
    }
