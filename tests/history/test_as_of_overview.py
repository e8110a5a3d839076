"""Overviews of the record, against those that were published then, of real runs on real stores."""

import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import pytest

from history.as_of_overview import AsOfOverviews
from market.timeframes import DAY_MS, MINUTE_MS
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.jobs import JobRunner, NoAudits, OpenRunner
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.history.test_as_of_document import differences
from tests.jobs.test_closes import MIDNIGHT_MS, Closes

CANDLES: Final = 400  # of 5m, more than a day


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=4, bybit=3, now=NOW_MS, frozen=True)


@dataclass
class Published:
    """Overviews by the `updated_at` of the 5m document that they followed; `until`: the time of
    the 5m document that came next."""

    runner: JobRunner
    versions: dict[int, Any] = field(default_factory=dict)

    async def keep(self) -> None:
        meta = await self.runner.context.cache.read_meta("5m")
        assert meta is not None
        self.versions[meta.updated_at_ms] = await self.runner.document("overview")

    async def as_of(self, at: int, names: set[str] | None = None, others: Any = ()) -> Any:
        """`others`: markets that the document had besides."""
        database = self.runner.context.database
        version = await database.publish_log.version_at("5m", at)
        assert version is not None
        version = replace(version, markets=[*version.markets, *others])
        overviews = AsOfOverviews(database.history_reads, database.publish_log)
        found = await overviews.build(version, names)
        assert found.document is not None
        return orjson.loads(found.document)


def comparable(overview: Any, *, of_record: bool) -> Any:
    """The body. Of the record settlements are known to be complete up to the last of them; a market
    that is stale there is that by the 5m document, and by its last candle in what was published.
    """
    told = {key: overview[key] for key in ("at", "quote", "assets")}
    for asset in told["assets"]:
        for market in asset["markets"]:
            market["stale_since"] = market["stale_since"] is not None
            if (funding := market["funding"]) is not None:
                checked_ms = funding.pop("checked_at")
                settled_ms = funding["settled_at"] // MINUTE_MS * MINUTE_MS
                assert not of_record or checked_ms == settled_ms
        for left_out in asset["left_out"]:
            left_out["reason"] = bool(left_out["reason"])
    return told


async def run_for_hours(runner: JobRunner) -> Published:
    """Closes, settlements, an exchange that fails and comes back."""
    published = Published(runner)
    closes = Closes(runner)
    for job in ("discovery", "funding", "collect:all", "fill"):
        await runner.complete(job)
    await published.keep()
    for minutes, jobs in (
        (0, ("collect:all",)),
        (5, ("funding", "collect:all", "record")),
        (10, ("broken", "collect:all")),
        (15, ("collect:5m",)),
        (20, ("well", "collect:all")),
        (65, ("funding", "collect:all")),
    ):
        closes.go_to(MIDNIGHT_MS + minutes * MINUTE_MS + 40_000)
        for job in jobs:
            if job == "broken":
                runner.fault({"kind": "status", "status": 500, "exchange": "bybit"})
            elif job == "well":
                runner.exchanges.delete("/sim/faults")
            else:
                await runner.complete(job)
                if job.startswith("collect"):
                    await published.keep()
    await runner.complete("record")
    return published


async def test_each_version_is_told_as_it_was_published(
    open_runner: OpenRunner, exchanges: Simulator, start_api: StartApi, redis_url: str
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES, audits=NoAudits()) as runner:
        published = await run_for_hours(runner)
        told_rates = left_out = 0
        for at, version in published.versions.items():
            found = await published.as_of(at)
            assert found["funding_intervals"] == "kept"
            ours = comparable(found, of_record=True)
            theirs = comparable(orjson.loads(orjson.dumps(version)), of_record=False)
            assert differences(ours, theirs) == [], at
            told_rates += sum(a["funding"]["rate_8h"] is not None for a in theirs["assets"])
            left_out += sum(len(a["left_out"]) for a in theirs["assets"])
        assert told_rates and left_out
        await only_some_assets(published)
        dsn = runner.context.settings.database_url
        assert dsn is not None
        api = await start_api(redis_url=redis_url, dsn=dsn.get_secret_value())
        await over_http(published, api)
        await what_is_forgotten(published)


async def only_some_assets(published: Published) -> None:
    """They are told as among all, at the instant of all, by any of their names."""
    for at in published.versions:
        whole = {each["asset"]: each for each in (await published.as_of(at))["assets"]}
        for names, wanted in (
            ({"PEPE"}, ["PEPE"]),
            ({"1000PEPE", "ETH"}, ["ETH", "PEPE"]),
            ({"1000PEPEUSDT"}, ["PEPE"]),
            ({"BTCUSDT"}, ["BTC"]),
            ({"NOSUCH"}, []),
        ):
            found = await published.as_of(at, names)
            assert [each["asset"] for each in found["assets"]] == wanted
            assert found["assets"] == [whole[name] for name in wanted]
            assert found["at"] == (await published.as_of(at))["at"]
        later = [("of_a_later_release", "BTCUSDT", "BTC", "USDT")]
        assert (await published.as_of(at, others=later))["assets"] == [*whole.values()]


async def over_http(published: Published, api: ServedApi) -> None:
    times = sorted(published.versions)
    at, later = times[1], times[2]
    expected = await published.as_of(at)

    async def get(path: str, **headers: str) -> tuple[int, Any, bytes]:
        headers.setdefault("Accept-Encoding", "identity")
        url = f"http://127.0.0.1:{api.port}{path}"
        async with api.http.get(url, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    for path in ("/cache/overview", "/market/BTC", "/market"):
        bodies = set()
        for coding in ("identity", "gzip", "deflate"):
            asked = f"{path}?as_of={later - 1}"
            status, headers, body = await get(asked, **{"Accept-Encoding": coding})
            assert status == 200, body
            assert headers.get("Content-Encoding", "identity") == coding
            bodies.add(body if coding == "identity" else zlib.decompress(body, 47))
            again = await get(asked, **{"If-None-Match": headers["ETag"]})
            assert (again[0], again[2]) == (304, b"")
            other = await get(f"{path}?as_of={later}", **{"If-None-Match": headers["ETag"]})
            assert other[0] == 200
        (body,) = bodies
        told = orjson.loads(body)
        if path == "/cache/overview":
            assert told == expected
        head = {name: told[name] for name in ("version", "as_of", "updated_at", "at", "quote")}
        assert head == {name: expected[name] for name in head}
        assert told["funding_intervals"] == "kept"
        (btc,) = [each for each in expected["assets"] if each["asset"] == "BTC"]
        if path == "/market/BTC":
            assert told["markets"] == btc["markets"] and told["price"] == btc["price"]
        if path == "/market":
            assert {each["asset"] for each in told["assets"]} >= {"BTC", "ETH", "PEPE"}
            assert told["assets"][0]["price"] is not None
    status, headers, body = await get(f"/cache/overview?as_of={at}&asset=btc,nosuch")
    assert (status, headers["X-Unknown-Symbols"]) == (200, "NOSUCH")
    assert [each["asset"] for each in orjson.loads(body)["assets"]] == ["BTC"]
    for path in (f"/cache/overview?as_of={at}&asset=BTTC", f"/market/BTTC?as_of={at}"):
        status, _, body = await get(path)
        assert (status, b"did you mean BTC" in body) == (404, True), body
    first = f"5m, which is recorded since {times[0]}, after ".encode()
    for path in ("/cache/overview", "/market/BTC", "/market"):
        status, _, body = await get(f"{path}?as_of={times[0] - DAY_MS}")
        assert (status, b"overview is made of " + first in body) == (404, True), body
        status, _, body = await get(f"{path}?as_of=yesterday")
        assert (status, b"must be UTC milliseconds or ISO 8601" in body) == (422, True), body
        status, _, body = await get(f"{path}?as_of={at}&since={at}")
        assert (status, b"as_of" in body) == (422, True), body
    status, _, body = await get(f"/cache/overview?as_of={at}&wait=3")
    assert (status, b"must not be given with as_of" in body) == (422, True)
    # Before the newest 5m document is recorded, nobody knows what was known.
    await published.runner.complete("collect:5m")
    for path in ("/cache/overview", "/market/BTC"):
        status, headers, body = await get(f"{path}?as_of=2100-01-01T00:00:00Z")
        assert (status, headers["Retry-After"], b"not yet to" in body) == (503, "2", True)
    await published.runner.complete("record")
    assert (await get("/market/BTC?as_of=2100-01-01T00:00:00Z"))[0] == 200


async def what_is_forgotten(published: Published) -> None:
    """Without the journal everything is told; without intervals of funding, as earlier releases
    recorded, all but funding."""
    database = published.runner.context.database
    before = {at: await published.as_of(at) for at in published.versions}
    await database.publishes.forget_entries(10**14)
    assert before == {at: await published.as_of(at) for at in published.versions}

    async def shortened(connection: Any) -> None:
        """Lists of markets as they were recorded before."""
        rows = await connection.fetch("SELECT universe_id, markets::text FROM history_universes")
        for place, text in rows:
            markets = orjson.dumps([each[:4] for each in orjson.loads(text)]).decode()
            await connection.execute(
                "UPDATE history_universes SET markets = $2 WHERE universe_id = $1", place, markets
            )

    await database.pool.write(shortened)
    for at, told in before.items():
        found = await published.as_of(at)
        assert found["funding_intervals"] == "not_recorded"
        for asset in told["assets"]:
            asset["funding"] = {"rate_8h": None, "rate_year": None, "exchanges": []}
            for market in asset["markets"]:
                market["funding"] = None
        assert found == told | {"funding_intervals": "not_recorded"}
