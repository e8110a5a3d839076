"""What operators are told of the history: /ready, /status and /metrics, of a journal that waits."""

import asyncio
from typing import Any, Final

import pytest

from api.overview.endpoint import MADE_EVERY_S
from cache_manager import meta_key
from documents.journal import EncodedEntry
from documents.names import DOCUMENTS
from status.readiness import history_state
from stores.hot.beats import beat
from stores.hot.journal import Journal, JournalState
from stores.hot.store import Word
from tests.fixtures.api import StartApi, ask
from tests.fixtures.numbers import Numbers
from timing.clock import now_ms

NOW: Final = 1_763_726_400_000  # 2025-11-21 12:00 UTC
MINUTE: Final = 60_000
ENTRY: Final = EncodedEntry(b"A" * 400, is_whole=False)


def state(
    waiting: int = 0, oldest_ms: int | None = None, cut: int = 0, cut_ms: int | None = None
) -> JournalState:
    return JournalState(waiting, 500 * waiting, oldest_ms, cut, cut_ms, {})


@pytest.mark.parametrize(
    ("journal", "told"),
    [
        (None, "unknown while the store is away"),
        (state(), "ok"),
        (state(3, NOW - 15 * MINUTE), "ok"),
        (
            state(3, NOW - 16 * MINUTE),
            "3 publishes wait to be recorded, the oldest since 2025-11-21T11:44:00Z",
        ),
        (state(1, None), "ok"),
        (state(0, None, 7, NOW - 61 * MINUTE), "ok"),
        (
            state(0, None, 7, NOW - 59 * MINUTE),
            "the journal had no room for 7 publishes, last at 2025-11-21T11:01:00Z"
            " (JOURNAL_BYTES, or the hot store's maxmemory): what they changed is recorded with the"
            " next that it has, and known since then",
        ),
    ],
)
def test_how_far_behind_the_record_is(journal: JournalState | None, told: str) -> None:
    assert history_state(journal, NOW, 900) == told


async def test_what_waits_is_told_everywhere(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    api = await start_api(**store_settings, dsn=database_url)
    await beat(api.store, "host:1")
    made_ms = now_ms() - 60 * MINUTE
    async with api.lease() as lease:
        for version in (10, 11):
            await api.cache.save_to_cache(
                "4h",
                b"{}",
                version=version,
                as_of_ms=version,
                updated_at_ms=made_ms + version,
                lease=lease,
                entry=ENTRY,
            )
    _, _, ready = await ask(api, "GET", "/ready")
    assert ready["parts"]["history"].startswith("2 publishes wait to be recorded, the oldest since")
    assert ready["status"] == "degraded"
    _, _, status = await ask(api, "GET", "/status")
    told = status["history"]
    assert (told["is_kept"], told["waiting"], told["cut"], told["gaps"]) == (True, 2, 0, 0)
    assert (told["recorded_at"], told["cut_at"], told["last_gap"]) == (None, None, None)
    assert told["bytes"] > 800 and 3600 <= told["behind_s"] < 3660
    async with api.http.get("/metrics") as answer:
        numbers = Numbers(await answer.text())
    assert numbers.of("perpcache_history_entries_waiting") == 2
    assert numbers.of("perpcache_history_journal_bytes") == told["bytes"]
    assert numbers.of("perpcache_history_behind_seconds") >= 3600
    assert numbers.of("perpcache_history_cut") == 0
    # The recorder takes them, and tells of a gap.
    journal = Journal(api.store, [meta_key(name) for name in DOCUMENTS])
    first = (await journal.take()).entry
    assert first is not None
    second = (await journal.take(first)).entry
    gap: dict[str, Word] = {
        "+gaps": 2,
        "gap_document": "4h",
        "gap_since": 5,
        "gap_until": 9,
        "recorded_at": 9,
    }
    await journal.take(second, gap)
    await asyncio.sleep(MADE_EVERY_S)  # for so long all get the same answer
    _, _, status = await ask(api, "GET", "/status")
    told = status["history"]
    assert (told["waiting"], told["bytes"], told["behind_s"]) == (0, 0, 0)
    assert (told["recorded_at"], told["gaps"]) == (9, 2)
    assert told["last_gap"] == {"document": "4h", "since": 5, "until": 9}


async def test_without_history_it_is_no_part_of_the_service(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    api = await start_api(**store_settings, dsn=database_url, history="off")
    await beat(api.store, "host:1")
    _, _, ready = await ask(api, "GET", "/ready")
    assert (ready["status"], "history" in ready["parts"]) == ("ready", False)
    _, _, status = await ask(api, "GET", "/status")
    assert status["history"]["is_kept"] is False
