"""GET /cache: the documents, and the POST that refreshes each."""

import time

from documents.names import SERVED
from tests.fixtures.api import ServedApi, ask
from tests.fixtures.documents import AS_OF_MS, document


async def test_every_document_is_listed_with_its_age(api: ServedApi) -> None:
    made_ms = time.time_ns() // 1_000_000 - 90_000
    meta = await api.publish("4h", document(), AS_OF_MS, updated_at_ms=made_ms)
    status, _, answer = await ask(api, "GET", "/cache")
    assert status == 200
    listed = {entry["name"]: entry for entry in answer["documents"]}
    assert list(listed) == list(SERVED)
    age_s = listed["4h"]["document"].pop("age_s")
    assert 90 <= age_s < 120
    assert listed["4h"] == {
        "name": "4h",
        "path": "/cache/4h",
        "document": {
            "version": AS_OF_MS,
            "as_of": AS_OF_MS,
            "updated_at": made_ms,
            "bytes": meta.stored_bytes,
        },
        "refresh": {"post": "/get-market-data", "body": {"timeframe": "4h"}},
    }
    assert listed["8h"]["document"] is None
    for name, entry in listed.items():
        refresh = entry["refresh"]
        status, _, job = await ask(api, "POST", refresh["post"], refresh["body"])
        if name == "global_fr":
            assert status == 403  # until CRON_SECRET is set
        elif name == "overview":
            assert (status, job["id"]) == (202, "collect:all")
        else:
            assert (status, name in job["produces"]) == (202, True)


async def test_head(native_api: ServedApi) -> None:
    async with native_api.http.head("/cache") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
