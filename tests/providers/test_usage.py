"""Usage: counted by all processes, with quantiles, and nothing is lost at the end."""

import pytest

from providers.gate import Gate
from providers.usage import Usage
from stores.hot.store import HotStore
from tests.providers.asking import SetClock, account, row

ROW = row("a")


async def test_processes_count_together_and_the_rest_is_written_at_the_end(store: HotStore) -> None:
    one, two = Usage(store), Usage(store)
    one.count("news", {"asked": 1, "answered": 1, "stale": 0}, [(ROW.id, "no_key")])
    two.count("news", {"asked": 1, "unanswered": 1}, [(ROW.id, "no_key"), (ROW.id, "out")])
    await one.aclose()
    await two.aclose()
    found = (await Usage(store).questions(["news"]))["news"]
    assert (found.asked, found.answered, found.unanswered, found.stale) == (2, 1, 1, 0)
    assert (await Usage(store).read([ROW.id]))[ROW.id].skipped == {"no_key": 2, "out": 1}


async def test_what_other_releases_count_is_left_to_them(store: HotStore) -> None:
    usage = Usage(store)
    usage.count("news", {"asked": 1, "of_a_later_release": 2})
    usage.living("news", False)
    await usage.aclose()
    assert (await Usage(store).questions(["news"]))["news"].asked == 1


@pytest.mark.parametrize("count", [1, 20, 100])
async def test_quantiles_are_within_a_bucket(store: HotStore, count: int) -> None:
    gate, here = Gate(store, fraction=1.0, clock=SetClock()), account(ROW)
    latencies = [7 * (number + 1) for number in range(count)]
    for ms in latencies:
        await gate.settle(here, await gate.admit(here), ms=ms)
    found = (await Usage(store).read([ROW.id]))[ROW.id]
    assert (found.requests, found.success, found.sum_ms) == (count, count, sum(latencies))
    for share, told in ((0.5, found.p50_ms), (0.95, found.p95_ms)):
        true = latencies[max(0, int(share * count + 0.999) - 1)]
        assert told is not None and true <= told <= 1.4 * true + 1


async def test_what_was_never_asked_has_zeros(store: HotStore) -> None:
    found = (await Usage(store).read([ROW.id]))[ROW.id]
    assert (found.requests, found.failures, found.p50_ms, found.last_error) == (0, 0, None, None)
