"""Log files of components: what goes where, rotation, and what is removed."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config import SettingsError, load_live_settings
from live.log_files import LevelFile, format_line, get_logger, remove_old

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ([A-Z]+) (\S+) (.*)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOG_DIR", "logs")  # from the working directory
    return tmp_path / "logs"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.exists() else set()


def read(file: Path) -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(line) for line in file.read_text().splitlines()]
    assert all(found)
    return [line.groups() for line in found if line]


def test_without_a_folder_no_file_is_written(tmp_path: Path) -> None:
    get_logger("collector").error("it failed")
    assert list(tmp_path.iterdir()) == []


def test_each_level_has_its_file_with_those_above(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    log = get_logger("collector")
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"a {level}")
    log.critical("a %s", "critical", pause_s=1.5)
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    for number, name in enumerate(("debug", "info", "warning", "error")):
        told = read(folder / f"collector_{name}.log")
        assert [line[0] for line in told] == levels[number:]
        assert told[-1] == ("CRITICAL", "collector", "a critical pause_s=1.5")
    assert names(folder) == {
        f"collector_{name}.log" for name in ("debug", "info", "warning", "error")
    }


def test_a_level_below_the_setting_has_no_file(folder: Path) -> None:
    log = get_logger("collector")
    log.debug("not told")
    log.info("told")
    assert [line[2] for line in read(folder / "collector_info.log")] == ["told"]
    assert "collector_debug.log" not in names(folder)


def test_components_of_one_family_share_its_files(folder: Path) -> None:
    get_logger("okx_collector", family="collector").info("one")
    get_logger("binance_collector", family="collector").info("two")
    get_logger("okx_performance").info("three")
    told = read(folder / "collector_info.log")
    assert [line[1:] for line in told] == [("okx_collector", "one"), ("binance_collector", "two")]
    assert [line[1:] for line in read(folder / "okx_performance_info.log")] == [
        ("okx_performance", "three")
    ]


def test_a_name_cannot_leave_the_folder(folder: Path, tmp_path: Path) -> None:
    get_logger("../../etc/x y").error("it failed")
    assert names(folder) == {f".._.._etc_x_y_{level}.log" for level in ("info", "warning", "error")}
    assert names(tmp_path) == {"logs"}


def test_a_line_is_one_line_of_what_can_be_printed(folder: Path) -> None:
    log = get_logger("collector")
    log.error("bad\nname \x1b[31m\u202e")
    try:
        raise OSError("no route")
    except OSError:
        log.exception("it failed")
    lines = (folder / "collector_error.log").read_text().splitlines()
    assert lines[0].endswith(r"bad\nname \x1b[31m\u202e")
    assert format_line(record("half \ud800")).endswith("half \\ud800\n")
    assert lines[-1] == "OSError: no route"


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_components_are_on_the_console_in_full(
    verbose: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log = get_logger("okx_performance", verbose=verbose)
    log.debug("below LOG_LEVEL")
    log.info("quick")
    log.warning("slow")
    told = capsys.readouterr().err.splitlines()
    assert [line.rsplit(" ", 1)[1] for line in told] == (["quick"] if verbose else []) + ["slow"]


def test_handlers_of_the_program_get_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("collector", verbose=True).info("connected", symbols=2)
    assert caplog.messages == ["connected symbols=2"]


def test_the_level_is_read_with_each_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_logger("collector").debug("one")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    get_logger("collector").debug("two")
    assert [line[2] for line in read(folder / "collector_debug.log")] == ["two"]


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("perpcache.live.c.c", logging.INFO, "", 0, text, (), None)


def test_a_full_file_is_renamed_and_the_oldest_are_removed(tmp_path: Path) -> None:
    other = tmp_path / "notes_info.20200101T000000000000Z.txt"
    other.write_text("a file of the user's")
    log = LevelFile(tmp_path / "c_info.log", logging.INFO, most_files=4, largest_bytes=1000)
    for number in range(200):
        log.emit(record(f"line {number:03}"))
    log.close()
    files = sorted(tmp_path.glob("c_info*.log"))
    assert len(files) == 4
    assert all(file.stat().st_size <= 1100 for file in files)
    # The rotated files sort before the one that is written, and hold the newest lines in order.
    rotated = [file for file in files if file.name != "c_info.log"]
    lines = [line for file in (*rotated, tmp_path / "c_info.log") for line in read(file)]
    kept = [int(line[2].removeprefix("line ")) for line in lines]
    assert kept == list(range(200 - len(kept), 200))
    assert other.exists()


def test_without_cleanup_nothing_is_removed(tmp_path: Path) -> None:
    log = LevelFile(tmp_path / "c_info.log", logging.INFO, most_files=None, largest_bytes=1000)
    for number in range(100):
        log.emit(record(f"line {number:03}"))
    log.close()
    assert sum(len(read(file)) for file in tmp_path.iterdir()) == 100


def test_only_rotated_files_are_removed(tmp_path: Path) -> None:
    stamps = ["20260101T000000000000Z", "20260102T000000000000Z", "20260103T000000000000Z"]
    for name in ("a_info", "b_error"):
        for stamp in stamps:
            (tmp_path / f"{name}.{stamp}.log").touch()
        (tmp_path / f"{name}.log").touch()
    (tmp_path / "syslog.1.log").touch()
    remove_old(tmp_path, 4)
    assert names(tmp_path) == {
        *("a_info.log", "b_error.log", "syslog.1.log"),
        *(f"{name}.{stamps[2]}.log" for name in ("a_info", "b_error")),
    }
    remove_old(tmp_path, 1)
    assert names(tmp_path) == {"a_info.log", "b_error.log", "syslog.1.log"}


_WRITER = """
import logging, sys
from pathlib import Path
from live.log_files import LevelFile
log = LevelFile(Path(sys.argv[1]) / "c_info.log", logging.INFO, None, 5000)
for number in range(400):
    text = f"{sys.argv[2]} {number} " + "x" * 50
    log.emit(logging.LogRecord("a.b", logging.INFO, "", 0, text, (), None))
"""


def test_processes_that_write_the_same_file_lose_and_tear_no_line(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _WRITER, str(tmp_path), str(number)], cwd=ROOT
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.wait(60) == 0
    told = [line for file in tmp_path.iterdir() for line in read(file)]
    found = sorted((int(line[2].split()[0]), int(line[2].split()[1])) for line in told)
    assert found == [(process, number) for process in range(3) for number in range(400)]
    assert len(names(tmp_path)) > 3


def test_a_file_that_cannot_be_written_loses_lines_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c_info.log").mkdir()
    log = LevelFile(tmp_path / "c_info.log", logging.INFO, None)
    for number in range(3):
        log.emit(record(f"line {number}"))
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("log lines are lost: c_info.log: ")


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    log = LevelFile(tmp_path / "c_info.log", logging.INFO, None)
    log.emit(record("one"))
    (tmp_path / "c_info.log").rename(tmp_path / "taken.log")
    log.emit(record("two"))
    log.close()
    assert [line[2] for line in read(tmp_path / "c_info.log")] == ["two"]


def test_the_settings_of_collectors_need_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "not one")
    monkeypatch.setenv("PORT", "-1")
    monkeypatch.setenv("RECONNECT_DELAY", "2.5")
    found = load_live_settings()
    assert (found.reconnect_delay, found.max_reconnect_attempts) == (2.5, 5)
    assert (found.default_health_check_interval, found.max_silence_duration) == (30, 300)
    assert (found.log_dir, found.log_cleanup, found.log_max_files) == (None, True, 30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_SILENCE_DURATION", "0"),
        ("DEFAULT_HEALTH_CHECK_INTERVAL", "soon"),
        ("MAX_RECONNECT_ATTEMPTS", "-1"),
        ("RECONNECT_DELAY", "nan"),
        ("LOG_MAX_FILES", "0"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_gets_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_live_settings()
    (line,) = caught.value.lines
    assert line.startswith(f"{name}: ")


_SERVICE = """
from live.log_files import get_logger
from logging_setup import configure_logging

configure_logging("INFO", "json", secrets=["hunter2-hunter2"])
log = get_logger("okx_collector", verbose=True, family="collector")
log.info("connected", symbols=2, url="wss://u:hunter2-hunter2@example.org")
"""


def test_the_service_logs_fields_and_hides_its_secrets(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _SERVICE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stderr)
    assert (told["event"], told["symbols"], told["level"]) == ("connected", 2, "info")
    assert told["url"] == "wss://u:***@example.org"
    (line,) = read(folder / "collector_info.log")
    assert line[2] == "connected symbols=2 url=wss://u:***@example.org"
