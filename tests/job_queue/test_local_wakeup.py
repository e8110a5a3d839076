"""The local wakeup: whoever listens is woken, and whoever wakes never comes to harm."""

import asyncio
import os
from pathlib import Path

from job_queue.local_wakeup import LocalWakeup


async def test_everyone_who_listens_is_woken(tmp_path: Path) -> None:
    pipes = tmp_path / "data" / "bells"
    LocalWakeup(pipes).wake()  # nobody has been here
    first, second = asyncio.Event(), asyncio.Event()
    with LocalWakeup(pipes).listening(first.set), LocalWakeup(pipes).listening(second.set):
        for _ in range(2):  # the second one comes after an end of the first writer
            LocalWakeup(pipes).wake()
            async with asyncio.timeout(10):
                await first.wait()
                await second.wait()
            first.clear()
            second.clear()
        # Nothing else wakes: a writer that closed is no news. The loop polls its pipes each turn.
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.is_set()
    assert list(pipes.iterdir()) == []


def fill_the_pipes_of_workers(pipes: Path) -> None:
    for pipe in pipes.glob("????????????????.bell"):
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(writer, b"!" * 4096)
        except BlockingIOError:
            os.close(writer)  # as full as a pipe gets


async def test_waking_is_safe_whatever_lies_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dead.bell")
    (tmp_path / "file.bell").write_text("not a pipe")
    (tmp_path / "link.bell").symlink_to(tmp_path / "file.bell")
    (tmp_path / "folder.bell").mkdir()
    woken = asyncio.Event()
    with LocalWakeup(tmp_path).listening(woken.set):
        fill_the_pipes_of_workers(tmp_path)
        LocalWakeup(tmp_path).wake()
        async with asyncio.timeout(10):
            await woken.wait()
    assert not (tmp_path / "dead.bell").exists()  # its worker was killed
    assert (tmp_path / "file.bell").read_text() == "not a pipe"


async def test_without_a_place_for_a_pipe_the_worker_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bells").write_text("a file")
    with LocalWakeup(tmp_path / "bells").listening(lambda: None):
        LocalWakeup(tmp_path / "bells").wake()
