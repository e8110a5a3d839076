"""/api/data-collections and /api/failures over HTTP: filters, pages, and what is refused."""

from typing import Any, Final

import pytest

from database import Database, DataCollection, FailureLog
from tests.fixtures.api import ServedApi, StartApi, ask

BEGIN_MS: Final = 1_763_726_400_000
COLLECTIONS: Final = "/api/data-collections"
FAILURES: Final = "/api/failures"


def collection(number: int) -> DataCollection:
    """Every third one is of funding, every fifth one failed; two of them end at each instant."""
    return DataCollection(
        kind="funding" if number % 3 == 0 else "collect",
        subject="funding" if number % 3 == 0 else "collect:5m",
        run=number,
        worker_run=None if number % 2 else 70 + number,
        started_at_ms=BEGIN_MS + number // 2 * 1000 - 400,
        finished_at_ms=BEGIN_MS + number // 2 * 1000,
        state="failed" if number % 5 == 0 else "complete",
        records=10 * number,
        requests=number,
        host=f"host-{number % 2}:7",
        details={"missing": number},
    )


def failure(number: int) -> FailureLog:
    return FailureLog(
        at_ms=BEGIN_MS + number // 2 * 1000,
        source="bybit" if number % 3 == 0 else "binance",
        subject="collect:5m",
        market=None if number % 2 else f"binance:A{number}USDT",
        cause=f"Cannot connect to host 10.1.2.3:443 ssl:default [{number}]",
        count=number + 1,
    )


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    database = Database(database_url)
    await database.data_collections.add([(collection(number), ()) for number in range(12)])
    await database.failure_logs.add([failure(number) for number in range(12)])
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url)


async def listed(api: ServedApi, path: str, query: str = "") -> list[Any]:
    """All rows, page after page; each page but the last is full."""
    key = "collections" if path == COLLECTIONS else "failures"
    rows: list[Any] = []
    cursor = ""
    while True:
        status, _, page = await ask(api, "GET", f"{path}?limit=5&{query}&cursor={cursor}")
        assert status == 200, page
        rows += page[key]
        cursor = page["next"]
        if cursor is None:
            assert len(page[key]) <= 5
            return rows
        assert len(page[key]) == 5


async def test_every_collection_once_the_newest_first(api: ServedApi) -> None:
    rows = await listed(api, COLLECTIONS)
    assert [row["run"] for row in rows] == list(range(11, -1, -1))
    assert rows[0] == {
        "id": rows[0]["id"],
        "kind": "collect",
        "subject": "collect:5m",
        "run": 11,
        "worker_run": None,
        "started_at": BEGIN_MS + 4600,
        "finished_at": BEGIN_MS + 5000,
        "state": "complete",
        "records": 110,
        "requests": 11,
        "host": "host-1:7",
        "details": {"missing": 11},
    }


async def test_collections_are_filtered(api: ServedApi) -> None:
    for query, expected in (
        ("kind=funding", [9, 6, 3, 0]),
        ("kind=funding,collect&state=failed", [10, 5, 0]),
        ("subject=collect:5m&host=host-0:7", [10, 8, 4, 2]),
        (f"from={BEGIN_MS + 4000}", [11, 10, 9, 8]),
        (f"to={BEGIN_MS + 1000}", [1, 0]),
        (f"from={BEGIN_MS + 1000}&to={BEGIN_MS + 2000}", [3, 2]),
        ("kind=nothing", []),
    ):
        assert [row["run"] for row in await listed(api, COLLECTIONS, query)] == expected, query


async def test_failures_are_filtered_and_name_no_address(api: ServedApi) -> None:
    rows = await listed(api, FAILURES)
    assert [row["count"] for row in rows] == list(range(12, 0, -1))
    assert {row["cause"].partition(" ssl")[0] for row in rows} == {
        "Cannot connect to host (address)"
    }
    for query, expected in (
        ("source=bybit", [10, 7, 4, 1]),
        ("source=binance&market=binance:A2USDT,binance:A4USDT", [5, 3]),
        (f"from={BEGIN_MS + 5000}", [12, 11]),
        ("subject=collect:1h", []),
    ):
        assert [row["count"] for row in await listed(api, FAILURES, query)] == expected, query


HOSTILE: Final = (
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=1e3", "limit"),
    ("limit=5&limit=6", "limit"),
    ("cursor=x", "cursor"),
    ("cursor=" + "A" * 300, "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=WzEsMl0", "cursor"),
    ("cursor=WyJhIiwxZTMwLDFd", "cursor"),
    ("from=yesterday", "from"),
    ("from=1763726400000&to=1763726300000", "to"),
    ("subject=", "subject"),
    ("subject=%00", "subject"),
    ("subject=a%0ab", "subject"),
    ("subject=" + "a" * 201, "subject"),
    ("subject=" + ",".join(map(str, range(30))), "subject"),
    ("wher=1", "unknown parameter"),
)


@pytest.mark.parametrize("path", [COLLECTIONS, FAILURES])
async def test_what_is_wrong_is_named_with_what_is_allowed(api: ServedApi, path: str) -> None:
    for query, named in HOSTILE:
        status, _, answer = await ask(api, "GET", f"{path}?{query}")
        assert status == 422, query
        (detail, *others) = answer["detail"]
        assert not others
        assert named in (detail["loc"][-1], detail["msg"].partition(":")[0])
        assert detail["msg"].isprintable()
    status, _, answer = await ask(api, "GET", f"{COLLECTIONS}?state=lost")
    assert (status, answer["detail"][0]["msg"]) == (422, "must be one or more of complete, failed")


async def test_a_cursor_fits_its_own_request_alone(api: ServedApi) -> None:
    _, _, page = await ask(api, "GET", f"{COLLECTIONS}?limit=2&kind=collect")
    for other in (f"{COLLECTIONS}?kind=funding", COLLECTIONS, f"{FAILURES}?limit=2"):
        sign = "&" if "?" in other else "?"
        status, _, answer = await ask(api, "GET", f"{other}{sign}cursor={page['next']}")
        assert (status, answer["detail"][0]["loc"]) == (422, ["query", "cursor"])
        assert "of another request" in answer["detail"][0]["msg"]
    status, _, _ = await ask(
        api, "GET", f"{COLLECTIONS}?limit=3&kind=collect&cursor={page['next']}"
    )
    assert status == 200


async def test_a_database_that_is_away_and_a_token(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, read_token="r3ad")
    for path in (COLLECTIONS, FAILURES):
        assert (await ask(api, "GET", path))[0] == 401
        headers = {"Authorization": "Bearer r3ad"}
        status, answered, answer = await ask(api, "GET", path, headers=headers)
        assert (status, answered["retry-after"]) == (503, "5")
        assert answer["detail"].startswith("the database")
        assert "127.0.0.1" not in answer["detail"]
