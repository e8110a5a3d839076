"""The doorbell: rings are heard by everyone who answers, and never harm whoever rings."""

import asyncio
import os
from pathlib import Path

from job_queue.doorbell import Doorbell


async def test_everyone_who_answers_hears_a_ring(tmp_path: Path) -> None:
    bells = tmp_path / "data" / "bells"
    Doorbell(bells).ring()  # nobody has been here
    first, second = asyncio.Event(), asyncio.Event()
    with Doorbell(bells).answered(first.set), Doorbell(bells).answered(second.set):
        for _ in range(2):  # the second ring comes after an end of the first writer
            Doorbell(bells).ring()
            async with asyncio.timeout(1):
                await first.wait()
                await second.wait()
            first.clear()
            second.clear()
        # Nothing but rings wakes: a writer that closed is no news.
        await asyncio.sleep(0.05)
        assert not first.is_set()
    assert list(bells.iterdir()) == []


def fill_the_pipes_of_workers(bells: Path) -> None:
    for bell in bells.glob("????????????????.bell"):
        writer = os.open(bell, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(writer, b"!" * 4096)
        except BlockingIOError:
            os.close(writer)  # as full as a pipe gets


async def test_ringing_is_safe_whatever_lies_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead.bell")
    (tmp_path / "file.bell").write_text("not a bell")
    (tmp_path / "link.bell").symlink_to(tmp_path / "file.bell")
    (tmp_path / "folder.bell").mkdir()
    heard = asyncio.Event()
    with Doorbell(tmp_path).answered(heard.set):
        fill_the_pipes_of_workers(tmp_path)
        Doorbell(tmp_path).ring()
        async with asyncio.timeout(1):
            await heard.wait()
    assert not (tmp_path / "dead.bell").exists()  # its worker was killed
    assert (tmp_path / "file.bell").read_text() == "not a bell"


async def test_without_a_place_for_a_bell_the_worker_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bells").write_text("a file")
    with Doorbell(tmp_path / "bells").answered(lambda: None):
        Doorbell(tmp_path / "bells").ring()
