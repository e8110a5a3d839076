"""The OpenAPI schema: every route, with every status that it can answer."""

import re
from urllib.parse import urlencode

import orjson

from job_queue.kinds import KINDS
from tests.fixtures.api import ServedApi, ask
from tests.fixtures.documents import AS_OF_MS, document

HISTORY = ("candles", "open-interest", "funding")
FACTS = ("gas/{chain}", "blockchain/{chain}", "whales", "balance/{chain}/{address}")
ASK_PROVIDERS = tuple(f"/api/{name}" for name in ("prices", "news", "sentiment", "rpc", *FACTS))
ACTIONS = ("start", "stop", "restart", "enable", "disable")


async def test_openapi_describes_every_route(native_api: ServedApi) -> None:
    _, _, page = await ask(native_api, "GET", "/openapi.json")
    served = {(method, path) for path, item in page["paths"].items() for method in item}
    assert served == {
        ("post", "/get-market-data"),
        ("post", "/api/v1/internal/update-fr"),
        ("post", "/api/v1/internal/update-coins"),
        *(("post", f"/api/v1/internal/{kind.internal}") for kind in KINDS if kind.internal),
        *(("get", f"/api/{name}") for name in ("prices", "prices/{asset}", "news", "sentiment")),
        *(("get", f"/api/{name}") for name in FACTS),
        ("post", "/api/rpc/{chain}"),
        *(("get", f"/api/historical/{name}") for name in ("sentiment", "news")),
        ("get", "/api/hierarchy/usage-stats"),
        ("get", "/api/providers"),
        ("get", "/api/providers/{id}"),
        *(("post", f"/api/providers/{{id}}/{each}") for each in ("enable", "disable", "probe")),
        ("get", "/jobs"),
        ("get", "/jobs/{job_id}"),
        ("delete", "/jobs/{job_id}"),
        ("get", "/api/collectors"),
        ("get", "/api/collectors/{name}"),
        *(("post", f"/api/collectors/{{name}}/{action}") for action in ACTIONS),
        ("post", "/api/collectors/{name}/symbols/{symbol}"),
        ("delete", "/api/collectors/{name}/symbols/{symbol}"),
        *(("get", f"/api/historical/{rows}/{{exchange}}/{{symbol}}") for rows in HISTORY),
        *(("get", f"/api/historical/{rows}") for rows in HISTORY),
        ("get", "/api/historical/prices/{symbol}"),
        ("get", "/api/history/holes"),
        ("get", "/api/history/backfill"),
        ("post", "/api/history/backfill"),
        ("get", "/api/history/backfill/{wish_id}"),
        ("delete", "/api/history/backfill/{wish_id}"),
        ("post", "/api/history/backfill/{wish_id}/cancel"),
        ("get", "/api/workers"),
        ("get", "/api/workers/{name}"),
        ("patch", "/api/workers/{name}"),
        ("delete", "/api/workers/{name}/override"),
        *(("post", f"/api/workers/{{name}}/{action}") for action in ("start", "stop", "run")),
        ("get", "/api/workers/{name}/published"),
        ("get", "/api/workers/{name}/runs"),
        ("get", "/api/runs/{run_id}"),
        ("get", "/api/runs/{run_id}/log"),
        *(("post", f"/api/runs/{{run_id}}/{action}") for action in ("abort", "retry")),
        ("get", "/api/execution-log"),
        ("get", "/api/config"),
        *((method, "/api/config/{key}") for method in ("get", "put", "delete")),
        *((method, "/api/config/{worker}/{key}") for method in ("get", "put", "delete")),
        ("get", "/api/queues"),
        ("patch", "/api/queues/{name}"),
        *(("post", f"/api/queues/{{name}}/{action}") for action in ("pause", "resume")),
        *(("get", f"/api/worker/{what}") for what in ("status", "stats", "schedules", "health")),
        *(("post", f"/api/worker/{what}") for what in ("start", "stop", "force-collection")),
        ("patch", "/api/worker/schedules/{name}"),
        ("get", "/api/data-collections"),
        ("get", "/api/failures"),
        ("get", "/"),
        ("get", "/cache"),
        ("head", "/cache"),
        ("get", "/cache/{name}"),
        ("head", "/cache/{name}"),
        ("get", "/cache/{name}.{format}"),
        ("head", "/cache/{name}.{format}"),
        ("get", "/cache/{name}/{version}.parquet"),
        ("head", "/cache/{name}/{version}.parquet"),
        ("get", "/cache/overview"),
        ("head", "/cache/overview"),
        ("get", "/market"),
        ("get", "/market/{asset}"),
        ("get", "/coins"),
        ("delete", "/exchanges/{name}/pause"),
        ("get", "/events"),
        ("head", "/events"),
        ("get", "/health"),
        ("get", "/metrics"),
        ("get", "/ready"),
        ("get", "/status"),
    }
    statuses = page["paths"]["/get-market-data"]["post"]["responses"]
    assert {"202", "401", "405", "409", "413", "422", "503"} <= set(statuses)
    text = orjson.dumps(page).decode()
    for address in re.findall(r'"\$ref":"#/([^"]+)"', text):
        found = page
        for step in address.split("/"):
            found = found[step]
    assert "HTTPValidationError" not in text
    for name in (
        *("Job", "Document", "DocumentList", "Problem", "InvalidRequest", "Ready", "Coins"),
        *("Collectors", "OneCollector", "Desired", "Status", "HistoryRows", "Holes"),
        *("DataCollections", "Failures", "Workers", "OneWorker", "ChangedWorker", "ChangeWorker"),
        *("Run", "AskedRun", "Runs", "LogLines", "ConfiguredValue", "SharedValues", "SetValue"),
        *("DeletedValue", "Queue", "Queues", "LimitQueue", "AgentStatus", "AgentStats"),
        *("AgentSchedules", "AgentHealth", "Switched", "ForcedRounds"),
    ):
        assert page["components"]["schemas"][name]["examples"]


async def test_who_comes_to_read_finds_that_first(native_api: ServedApi) -> None:
    _, _, page = await ask(native_api, "GET", "/openapi.json")
    tags = ["documents", "history", "jobs", "workers", "collectors", "providers", "status"]
    assert [tag["name"] for tag in page["tags"]] == tags
    operations = [o for item in page["paths"].values() for o in item.values()]
    assert operations[0]["operationId"] == "get_document"
    assert {tag for operation in operations for tag in operation["tags"]} == set(tags)
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert {"get_document", "get_market_data", "list_jobs", "ready"} <= set(ids)
    assert max(map(len, ids)) < 20


async def test_try_it_out_asks_for_little_and_sends_what_a_browser_can(
    native_api: ServedApi,
) -> None:
    await native_api.publish("4h", document(rows=50), AS_OF_MS)
    _, _, page = await ask(native_api, "GET", "/openapi.json")
    operation = page["paths"]["/cache/{name}"]["get"]
    examples = {p["name"]: p["example"] for p in operation["parameters"] if "example" in p}
    assert {"name", "symbol", "limit"} <= set(examples)
    path = f"/cache/{examples.pop('name')}?" + urlencode(examples, doseq=True)
    status, headers, found = await ask(native_api, "GET", path)
    assert (status, "x-unknown-symbols" in headers) == (200, False)
    assert {market["symbol"] for market in found["markets"]} == {"BTCUSDT"}
    assert {len(market["rows"]) for market in found["markets"]} == {5}
    # https://fetch.spec.whatwg.org/#forbidden-request-header, those that a GET could have.
    forbidden = {"accept-encoding", "accept-charset", "connection", "content-length", "cookie"}
    forbidden |= {"date", "expect", "host", "keep-alive", "origin", "referer", "te", "via"}
    for item in page["paths"].values():
        for other in item.values():
            named = {p["name"].lower() for p in other.get("parameters", ()) if p["in"] == "header"}
            assert not named & forbidden


async def test_common_errors_are_described_once(native_api: ServedApi) -> None:
    _, _, page = await ask(native_api, "GET", "/openapi.json")
    shared = page["components"]["responses"]
    for path, item in page["paths"].items():
        for status, response in item.get("get", {"responses": {}})["responses"].items():
            if status == "503" and path.startswith(ASK_PROVIDERS):
                told = response["content"]["application/json"]["schema"]
                assert told == {"$ref": "#/components/schemas/Unanswered"}
            elif int(status) >= 400 and (path, status) != ("/ready", "503"):
                assert response == {"$ref": f"#/components/responses/Problem{status}"}
    assert {"Problem413", "Problem422", "Problem503"} <= set(shared)
    schema = {"$ref": "#/components/schemas/Problem"}
    assert shared["Problem503"]["content"]["application/json"]["schema"] == schema
