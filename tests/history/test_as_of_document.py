"""Documents as they were, against the bytes that were served then, of real runs on real stores."""

import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest

from documents.text import DocumentFilter, DocumentText
from history.as_of_document import AsOfDocuments
from market.markets import Exchange
from market.timeframes import HOUR_MS, MINUTE_MS
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.jobs import ALL, JobRunner, NoAudits, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import MIDNIGHT_MS, Closes

CANDLES: Final = 125  # enough for metadata
NAMES: Final = ("5m", "1h", "4h", "8h", "1d")
_INTEREST: Final = 7


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, 2) | {"binance": 3}, now=NOW_MS, frozen=True)


@dataclass
class Served:
    """Each version of some documents, as it was served, by its `updated_at`."""

    runner: JobRunner
    versions: dict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))

    async def keep(self) -> None:
        """Keeps what is published now."""
        for name in NAMES:
            stored = await self.runner.context.cache.read(name)
            assert stored is not None
            self.versions[name][stored.meta.updated_at_ms] = stored.inflate()

    def documents(self) -> AsOfDocuments:
        database = self.runner.context.database
        return AsOfDocuments(database.history_reads, database.publish_log)

    async def as_of(
        self, name: str, as_of_ms: int, where: DocumentFilter | None = None
    ) -> bytes | None:
        version = await self.runner.context.database.publish_log.version_at(name, as_of_ms)
        if version is None:
            return None
        found = await self.documents().build(version, where or DocumentFilter())
        return found.text.inflate()

    def take_interest(self, found: Any, expected: Any, at: int) -> int:
        """Takes open interest out of `found` that `expected` lacks, and another document had by
        then; returns how much."""
        taken = 0
        for ours, theirs in zip(found["markets"], expected["markets"], strict=True):
            for row, served in zip(ours["rows"], theirs["rows"], strict=True):
                if served[_INTEREST] is None and row[_INTEREST] is not None:
                    key = ours["exchange"], ours["symbol"], row[0]
                    assert row[_INTEREST] == self._interest(at)[key]
                    row[_INTEREST] = None
                    taken += 1
        return taken

    def _interest(self, at: int) -> dict[tuple[str, str, int], float]:
        """All open interest that was served until then."""
        return {
            (market["exchange"], market["symbol"], row[0]): row[_INTEREST]
            for versions in self.versions.values()
            for updated_ms, text in versions.items()
            if updated_ms <= at
            for market in orjson.loads(text)["markets"]
            for row in market["rows"]
            if row[_INTEREST] is not None
        }


def plain(text: bytes) -> Any:
    """A document without what only one that is put together tells."""
    document = orjson.loads(text)
    document.pop("forming_rows", None)
    return document


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where two documents differ, field by field."""
    if isinstance(expected, dict) and isinstance(found, dict):
        names = dict.fromkeys((*expected, *found))
        return [
            line
            for name in names
            for line in differences(found.get(name), expected.get(name), f"{path}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for place, (ours, theirs) in enumerate(zip(found, expected, strict=True))
            for line in differences(ours, theirs, f"{path}[{place}]")
        ]
    return [] if found == expected else [f"{path}: {found!r:.200} instead of {expected!r:.200}"]


async def published(runner: JobRunner) -> Served:
    """Some hours of a service: closes, settlements, a market that fails and comes back."""
    served = Served(runner)
    closes = Closes(runner)
    for job in ("discovery", "funding", "collect:all", "fill"):
        await runner.complete(job)
        if job in ("collect:all", "fill"):
            await served.keep()
    await runner.complete("record")
    rule = {"exchange": "binance", "symbol": "BTCUSDT", "endpoint": "klines"}
    for minutes, jobs in (
        (0, ("funding", "collect:all")),
        (5, ("collect:all",)),
        (10, ("broken", "collect:all", "record")),
        (20, ("well", "collect:4h", "collect:all")),
        (60, ("collect:all",)),
    ):
        closes.go_to(MIDNIGHT_MS + minutes * MINUTE_MS + 20_000)
        for job in jobs:
            if job == "broken":
                runner.fault(rule | {"kind": "status", "status": 500})
            elif job == "well":
                runner.exchanges.delete("/sim/faults")
            else:
                await runner.complete(job)
                await served.keep()
    await runner.complete("record")
    return served


async def test_each_version_is_told_as_it_was_served(
    open_runner: OpenRunner, exchanges: Simulator, start_api: StartApi, redis_url: str
) -> None:
    settings = {"exchanges": ALL, "history_candles": CANDLES, "timeframes": ",".join(NAMES)}
    async with open_runner(exchanges, **settings, audits=NoAudits()) as runner:
        served = await published(runner)
        for name, versions in served.versions.items():
            assert await served.as_of(name, min(versions) - 1) is None
            times = sorted(versions)
            for at, following in zip(times, [*times[1:], times[-1] + HOUR_MS], strict=True):
                text = await served.as_of(name, at)
                assert text is not None
                if following > at + 1:
                    assert await served.as_of(name, following - 1) == text
                found, expected = plain(text), plain(versions[at])
                told_elsewhere = served.take_interest(found, expected, at)
                assert differences(found, expected) == [], (name, at)
                # The exchange keeps 30 days: one document may begin some candles earlier.
                assert told_elsewhere <= (0 if name in ("5m", "1h") else 5)
        assert any(plain(text)["missing"] for text in served.versions["5m"].values())
        await parts_of_a_document(served)
        dsn = runner.context.settings.database_url
        assert dsn is not None
        api = await start_api(redis_url=redis_url, dsn=dsn.get_secret_value())
        await over_http(served, api)
        await what_is_forgotten(served, api)


async def parts_of_a_document(served: Served) -> None:
    """Each filter selects what it selects of the document that was served."""
    at = sorted(served.versions["1h"])[3]
    text = DocumentText(served.versions["1h"][at])
    newest_ms = text.header["last_closed_open_time"]
    for where in (
        DocumentFilter(exchanges=frozenset({"bybit", "okx"})),
        DocumentFilter(symbols=frozenset({"BTCUSDT"})),
        DocumentFilter(symbols=frozenset({"BTCUSDT"}), exchanges=frozenset({"binance"})),
        DocumentFilter(since_ms=newest_ms - 3 * HOUR_MS),
        DocumentFilter(closed=True),
        DocumentFilter(limit=2),
        DocumentFilter(since_ms=newest_ms - 9 * HOUR_MS, closed=True, limit=4),
        DocumentFilter(since_ms=newest_ms + 9 * HOUR_MS),
    ):
        found = await served.as_of("1h", at, where)
        assert found is not None
        expected = plain(b"".join(text.filtered(where)))
        assert differences(plain(found), expected) == [], where


async def over_http(served: Served, api: ServedApi) -> None:
    """`GET /cache/<timeframe>?as_of=`, in every coding, with its validators and its errors."""
    versions = served.versions["4h"]
    at = sorted(versions)[1]
    expected = plain(versions[at])
    address = f"http://127.0.0.1:{api.port}/cache/"
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")

    async def get(path: str, **headers: str) -> tuple[int, Any, bytes]:
        headers.setdefault("Accept-Encoding", "identity")
        async with api.http.get(address + path, headers=headers) as response:
            return response.status, response.headers, await response.read()

    bodies = set()
    for coding in ("identity", "gzip", "deflate"):
        for time in (str(at), quote(moment), moment):
            status, headers, body = await get(f"4h?as_of={time}", **{"Accept-Encoding": coding})
            assert (status, headers["X-Forming-Rows"]) == (200, "kept")
            assert headers.get("Content-Encoding", "identity") == coding
            bodies.add(body if coding == "identity" else zlib.decompress(body, 47))
            etag = headers["ETag"]
            answer = await get(f"4h?as_of={time}", **{"If-None-Match": etag})
            assert (answer[0], answer[2]) == (304, b"")
    (body,) = bodies
    found = plain(body)
    served.take_interest(found, expected, at)
    assert differences(found, expected) == []
    status, headers, body = await get(f"4h?as_of={at}&symbol=btcusdt,nosuch&limit=1&closed=true")
    assert (status, headers["X-Unknown-Symbols"]) == (200, "NOSUCH")
    assert [len(market["rows"]) for market in orjson.loads(body)["markets"]] == [1] * len(Exchange)
    status, _, body = await get(f"4h?as_of={at}&symbol=BTCUSD")
    assert (status, b"did you mean BTCUSDT" in body) == (404, True)
    status, _, body = await get(f"4h?as_of={min(versions) - 1}")
    assert (status, f"recorded since {min(versions)}".encode() in body) == (404, True)
    status, _, body = await get("4h?as_of=yesterday")
    assert (status, b"must be UTC milliseconds or ISO 8601" in body) == (422, True)
    status, _, body = await get(f"global_fr?as_of={at}")
    assert (status, b"/api/historical/funding" in body) == (404, True)
    status, _, body = await get("4h?as_of=2100-01-01T00:00:00Z")
    assert (status, plain(body)["version"]) == (200, plain(versions[max(versions)])["version"])
    # Before the newest version is recorded, nobody knows what was the newest one.
    await served.runner.complete("collect:4h")
    status, headers, body = await get("4h?as_of=2100-01-01T00:00:00Z")
    assert (status, headers["Retry-After"], b"not yet to" in body) == (503, "2", True)
    assert (await get(f"4h?as_of={at}"))[0] == 200
    await served.runner.complete("record")
    assert (await get("4h?as_of=2100-01-01T00:00:00Z"))[0] == 200


async def what_is_forgotten(served: Served, api: ServedApi) -> None:
    """Once the journal is forgotten, forming rows and times of checking are left out, and told."""
    await served.runner.context.database.publishes.forget_entries(10**14)
    for at in sorted(served.versions["1h"]):
        address = f"http://127.0.0.1:{api.port}/cache/1h?as_of={at}"
        async with api.http.get(address, headers={"Accept-Encoding": "identity"}) as response:
            assert response.headers["X-Forming-Rows"] == "forgotten"
            text = await response.read()
        assert orjson.loads(text)["forming_rows"] == "forgotten"
        found, expected = plain(text), plain(served.versions["1h"][at])
        for market in expected["markets"]:
            if market["stale_since"] is None:
                market["checked_at"] = None
            last_ms = expected["last_closed_open_time"]
            market["rows"] = [row for row in market["rows"] if row[0] <= last_ms]
        assert differences(found, expected) == []
