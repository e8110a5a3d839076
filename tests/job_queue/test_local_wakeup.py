"""The local wakeup: whoever listens is woken, and whoever wakes never comes to harm."""

import asyncio
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from job_queue.local_wakeup import LocalWakeup


async def test_everyone_who_listens_is_woken(tmp_path: Path) -> None:
    pipes = tmp_path / "data" / "bells"
    LocalWakeup(pipes).wake()  # nobody has been here
    first, second = asyncio.Event(), asyncio.Event()
    with LocalWakeup(pipes).listening(first.set), LocalWakeup(pipes).listening(second.set):
        for _ in range(2):  # the second one comes after an end of the first writer
            LocalWakeup(pipes).wake()
            async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
            await woken.wait()
    assert not (tmp_path / "dead.bell").exists()  # its worker was killed
    assert (tmp_path / "file.bell").read_text() == "not a pipe"


async def test_without_a_place_for_a_pipe_the_worker_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bells").write_text("a file")
    with LocalWakeup(tmp_path / "bells").listening(lambda: None):
        LocalWakeup(tmp_path / "bells").wake()


def open_files() -> set[str]:
    return {str(file) for file in Path("/proc/self/fd").iterdir()}


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_the_pipe_is_private_and_nothing_of_it_stays(tmp_path: Path) -> None:
    pipes = tmp_path / "data" / "bells"
    before, woken = open_files(), asyncio.Event()
    with LocalWakeup(pipes).listening(woken.set):
        (pipe,) = pipes.iterdir()
        assert re.fullmatch(r"[0-9a-f]{16}\.bell", pipe.name)
        assert stat.filemode(pipe.stat().st_mode) == "prw-------"
        assert stat.filemode(pipes.stat().st_mode) == "drwx------"
        LocalWakeup(pipes).wake()
        assert len(open_files()) == len(before) + 2  # a reading and a writing end
        async with asyncio.timeout(60):
            await woken.wait()
    assert open_files() == before and list(pipes.iterdir()) == []
    # A file that gets the number of the pipe now wakes nobody.
    woken.clear()
    reader, writer = os.pipe()
    os.write(writer, b"!")
    for _ in range(20):
        await asyncio.sleep(0)
    os.close(reader)
    os.close(writer)
    assert not woken.is_set()


async def test_one_byte_wakes_and_pending_ones_are_read_together(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.bell")
    reader = os.open(tmp_path / "mine.bell", os.O_RDONLY | os.O_NONBLOCK)
    LocalWakeup(tmp_path).wake()
    assert os.read(reader, 100) == b"!"
    os.close(reader)
    (tmp_path / "mine.bell").unlink()
    wakes: list[int] = []
    with LocalWakeup(tmp_path).listening(lambda: wakes.append(1)):
        (pipe,) = files_in(tmp_path)
        for count, expected in ((4_096, 1), (4_097, 2)):
            wakes.clear()
            with pipe.open("wb") as writer:
                writer.write(b"!" * count)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(wakes) == expected


async def test_a_pipe_that_cannot_be_named_leaves_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job_queue.local_wakeup.secrets.token_hex", lambda length: "a" * length)
    (tmp_path / "aaaaaaaa.bell").mkdir()
    before, woken = open_files(), list[int]()
    with capture_logs() as logs, LocalWakeup(tmp_path).listening(lambda: woken.append(1)):
        assert [file.name for file in files_in(tmp_path)] == ["aaaaaaaa.bell"]
    assert open_files() == before
    (line,) = logs
    assert (line["event"], line["folder"]) == ("local_wakeup_unavailable", str(tmp_path))


async def test_a_removed_folder_is_no_matter(tmp_path: Path) -> None:
    with LocalWakeup(tmp_path / "bells").listening(lambda: None):
        shutil.rmtree(tmp_path / "bells")
        LocalWakeup(tmp_path / "bells").wake()
