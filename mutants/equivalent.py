"""Mutants that are known to change nothing that anyone could notice, each with the reason."""

from collections.abc import Mapping
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = {
    'documents/building.py module: "collected" => \'collectedX\' in Source = Literal["collected",'
    ' "aggregated"]': "only the type checker reads it",
    'documents/building.py module: "aggregated" => \'aggregatedX\' in Source = Literal["collected",'
    ' "aggregated"]': "only the type checker reads it",
    "documents/deflated.py inflate: isal_zlib.decompress(stream, bufsize=text_bytes) =>"
    " isal_zlib.decompress(stream) in text: bytes = isal_zlib.decompress(stream,"
    " bufsize=text_bytes)": "the same text, from a buffer that grows",
    "documents/chunks.py _bounds: (count - 1) * interval_ms => ((count - 1) // interval_ms) in if"
    " int(times[-1]) - first_ms == (count - 1) * interval_ms:": "the same bounds, only slower",
    'venues/entries.py module: "T" => \'TX\' in T = TypeVar("T")': "a name for people",
    'venues/entries.py module: "Row" => \'RowX\' in Row = TypeVar("Row", bound=tuple[Any, ...])': (
        "a name for people"
    ),
    "venues/entries.py cut_list: np.cumsum(steps * outside, dtype=np.int32) => np.cumsum(steps *"
    " outside) in depth = np.cumsum(steps * outside, dtype=np.int32)": (
        "the same sums, in twice the memory"
    ),
    'venues/reading.py module: "T" => \'TX\' in T = TypeVar("T")': "a name for people",
    "data_collector/funding_rules.py complete_until: 0 => 1 in last_ms ="
    " settlement_instant(rows[-1][TIME]) if rows else 0": (
        "both are before every settlement there is"
    ),
    "data_collector/fetch_strategies.py _within: page.first_ms is None or page.last_ms is None =>"
    " (page.first_ms is None and page.last_ms is None) in if page.first_ms is None or page.last_ms"
    " is None:": "a page has both or neither",
    "data_collector/fetch_strategies.py _within: start_ms <= page.first_ms => (start_ms <"
    " page.first_ms) in if start_ms <= page.first_ms and page.last_ms <= end_ms:": (
        "a page inside of its window is cut to itself, only slower"
    ),
    "data_collector/fetch_strategies.py _within: page.last_ms <= end_ms => (page.last_ms <"
    " end_ms) in if start_ms <= page.first_ms and page.last_ms <= end_ms:": (
        "a page inside of its window is cut to itself, only slower"
    ),
    "stores/hot/beats.py _STORE_HEALTH: 0 => 1 in local refused = redis.pcall('SETRANGE', KEYS[2],"
    " 0, '')": "an empty string changes nothing at any offset",
    'documents/text.py DocumentText._first_row_from: 1 => 2 in following = text.find(b"[", row + 1,'
    " high)": "no row is one byte long",
    "data_collector/api_parser.py parse_open_interest: found.values.min() >= 0 =>"
    " (found.values.min() > 0) in if whole and found.values.min() >= 0 and"
    " found.values.max() < np.inf:": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py parse_open_interest: 0 => 1 in if whole and"
    " found.values.min() >= 0 and found.values.max() < np.inf:": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py _on_grid: return bool(columns.times[0] > 0) and"
    " on_grid(columns.times, interval_ms) => return None in return"
    " bool(columns.times[0] > 0) and on_grid(columns.times, interval_ms)": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py _on_grid: 0 => 1 in return bool(columns.times[0] >"
    " 0) and on_grid(columns.times, interval_ms)": (
        "no candle opens in the first ms of 1970 but that of 1970 itself"
    ),
    "data_collector/api_parser.py _all_valid: np.minimum(opens, closes) >= lows =>"
    " (np.minimum(opens, closes) > lows) in sane = (np.maximum(opens, closes) <="
    " highs) & (np.minimum(opens, closes) >= lows)": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py _all_valid: np.maximum(opens, closes) <= highs =>"
    " (np.maximum(opens, closes) < highs) in sane = (np.maximum(opens, closes) <="
    " highs) & (np.minimum(opens, closes) >= lows)": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py _all_valid: 0 => 1 in return _on_grid(candles,"
    " interval_ms) and bool(sane.all() and lows.min() > 0)": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/api_parser.py _all_valid: return _on_grid(candles, interval_ms)"
    " and bool(sane.all() and lows.min() > 0) => return None in return"
    " _on_grid(candles, interval_ms) and bool(sane.all() and lows.min() > 0)": (
        "rows that fail this quick check are checked one by one, with the same result"
    ),
    "data_collector/horizons.py _search: 1 => 2 in if step > 1:": (
        "the search then asks for that very step next"
    ),
    "data_collector/life_rows.py _may_be_older: first_ms + interval_ms => (first_ms"
    " - interval_ms) in return first_ms + interval_ms <= max(market.since_ms,"
    " market.launched_ms)": ("it only spares the search for a beginning, which would find none"),
    "market/merging.py _settlements_between: 1 => 2 in return"
    " settlements[max(0, begin - 1) : end]": ("one settlement more, which the next one supersedes"),
    "data_collector/incremental.py PreviousDocuments._longer_rows: continue => break in continue": (
        "one longer timeframe at most is made of another"
    ),
    "data_collector/incremental.py PreviousDocuments.plan: \"holes\" => 'holesX' in"
    ' whole = whole or (holes and self._within_quota(market.exchange, "holes",'
    " HOLES_PER_RUN))": ("a name that nobody sees"),
    "data_collector/incremental.py PreviousDocuments.plan: \"nulls\" => 'nullsX' in"
    ' again = nulls and self._within_quota(market.exchange, "nulls", NULLS_PER_RUN)': (
        "a name that nobody sees"
    ),
    **{
        f'stores/hot/{file}.py module: "T" => \'TX\' in T = TypeVar("T")': (
            "the name of a type variable is read by type checkers alone"
        )
        for file in ("leases", "replies", "store")
    },
    **{
        f"stores/hot/store.py Script.__init__: {change} in self._sha ="
        " hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()": (
            "the same hash; it matters only to a Python that refuses SHA-1"
        )
        for change in (
            "hashlib.sha1(lua.encode(), usedforsecurity=False) => hashlib.sha1(lua.encode())",
            "False => True",
        )
    },
    "data_collector/run.py CollectionRun.try_failed: 0.0 => 1.0 in if"
    " self.counts.lost_s.get(where, 0.0) > MAX_LOST_TIME_S * self.sender.concurrency:": (
        "both are less than any limit"
    ),
    **{
        f"job_queue/records.py module: \"{state}\" => '{state}X' in JobState ="
        ' Literal["queued", "active", "complete", "failed", "aborted"]': (
            "a type's values are read by type checkers alone"
        )
        for state in ("queued", "active", "complete", "failed", "aborted")
    },
}
