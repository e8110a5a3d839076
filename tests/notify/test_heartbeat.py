"""HEARTBEAT_URL against real receivers: what is sent after which end, and that nobody waits."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from notify.heartbeat import Heartbeat
from tests.notify.receiver import Receiver, receiving

TOKEN = "0a1b2c3d-Xwkf-9zxq"


@contextlib.asynccontextmanager
async def running(
    url: str, *, every_s: float = 0.0, deadline_s: float = 10, last_s: float = 5
) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(url, every_s=every_s, deadline_s=deadline_s, last_s=last_s)
    stop = asyncio.Event()
    task = asyncio.create_task(heartbeat.run(stop))
    try:
        yield heartbeat
    finally:
        stop.set()
        await task


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def url_of(receiver: Receiver, query: str = "") -> str:
    return f"http://127.0.0.1:{receiver.port}/{TOKEN}{query}"


async def test_complete_and_failed_jobs_are_told_apart(receiver: Receiver) -> None:
    async with running(url_of(receiver, "?rid=1")) as heartbeat:
        heartbeat.ended("collect:4h", 7, "complete", None)
        await receiver.until(1, asked=True)
        heartbeat.ended("funding", 3, "failed", "binance time: 10.0.0.7:443: cannot connect")
        await receiver.until(2, asked=True)
    assert receiver.asked == [("POST", f"/{TOKEN}?rid=1"), ("POST", f"/{TOKEN}/fail?rid=1")]
    assert receiver.texts[0] == "collect:4h (run 7): complete"
    assert receiver.texts[1].startswith("funding (run 3): failed: binance time: (address)")


async def test_the_newest_of_each_state_is_kept(receiver: Receiver) -> None:
    receiver.hangs = True
    async with running(url_of(receiver)) as heartbeat:
        heartbeat.ended("first", 1, "complete", None)
        await receiver.until(1, asked=True)
        for run in range(1000):  # a job never waits for it
            heartbeat.ended("collect:all", run, "complete", None)
            heartbeat.ended("funding", run, "failed", "error")
        receiver.release()
        await receiver.until(3, asked=True)
    assert receiver.texts[1:] == [
        "collect:all (run 999): complete",
        "funding (run 999): failed: error",
    ]


async def test_an_address_that_takes_no_post_is_asked_by_get(receiver: Receiver) -> None:
    receiver.status = 405
    async with running(url_of(receiver)) as heartbeat:
        heartbeat.ended("collect:4h", 1, "complete", None)
        await receiver.until(2, asked=True)
    assert [method for method, _ in receiver.asked] == ["POST", "GET"]


async def test_it_goes_on_after_an_address_that_hangs_refuses_or_is_gone(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.hangs = True
    async with running(url_of(receiver), deadline_s=0.2) as heartbeat:
        heartbeat.ended("hangs", 1, "complete", None)
        await receiver.until(1, asked=True)
        receiver.status = 500
        heartbeat.ended("refused", 2, "failed", None)
        await receiver.until(2, asked=True)
        receiver.release()
        receiver.status = 200
        heartbeat.ended("taken", 3, "complete", None)
        await receiver.until(3, asked=True)
    async with running(f"http://127.0.0.1:1/{TOKEN}") as heartbeat:
        heartbeat.ended("collect:4h", 1, "complete", None)
    lines = "\n".join(
        [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
        + [*capfd.readouterr()]
    )
    assert "heartbeat_url_failed" in lines
    assert TOKEN not in lines


async def test_a_command_that_ends_tells_its_job_first(receiver: Receiver) -> None:
    async with running(url_of(receiver), last_s=20) as heartbeat:
        heartbeat.ended("collect:4h", 1, "failed", None)
        heartbeat.ended("funding", 1, "complete", None)
    assert len(receiver.asked) == 2


async def test_what_is_being_sent_at_the_end_arrives(receiver: Receiver) -> None:
    receiver.hangs = True
    async with running(url_of(receiver), last_s=20) as heartbeat:
        heartbeat.ended("collect:4h", 1, "failed", None)
        await receiver.until(1, asked=True)
        asyncio.get_running_loop().call_later(0.2, receiver.release)  # after it is stopped
    assert (receiver.texts, receiver.answered) == (["collect:4h (run 1): failed"], 1)


async def test_the_end_waits_for_no_address_that_hangs(receiver: Receiver) -> None:
    receiver.hangs = True
    async with running(url_of(receiver), last_s=0.1) as heartbeat:
        heartbeat.ended("collect:4h", 1, "complete", None)
    assert len(receiver.asked) <= 1


async def test_no_more_than_one_request_in_a_while(receiver: Receiver) -> None:
    async with running(url_of(receiver), every_s=3600) as heartbeat:
        heartbeat.ended("first", 1, "complete", None)
        await receiver.until(1, asked=True)
        heartbeat.ended("second", 2, "complete", None)
        await asyncio.sleep(0)
        assert len(receiver.asked) == 1
    # What waits when the process stops is sent then.
    assert receiver.texts[1:] == ["second (run 2): complete"]
