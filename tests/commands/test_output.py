"""What commands print: on terminals of any encoding, into pipes nobody reads, onto full disks."""

import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from commands.console import Console
from commands.errors import EXIT_BROKEN_PIPE
from database import Database
from main import main
from market.markets import Exchange, ListedMarket, Market

MAIN: Final = Path(__file__).resolve().parents[2] / "main.py"
NAMES: Final = ("币安人生USDT", "\x1b]0;title\x07USDT", "\u202eTDSU", "[/b]:smile:USDT")


@pytest.fixture
async def odd_names(database_url: str) -> AsyncIterator[str]:
    """The address of a database with markets of odd names."""
    database = Database(database_url)
    listed = [ListedMarket(Market(Exchange.BYBIT, name, "A", "USDT"), 1.0) for name in NAMES]
    await database.markets.save_markets(Exchange.BYBIT, listed, seen_at_ms=1_700_000_000_000)
    await database.aclose()
    yield database_url


def run(*words: str, out: Any = subprocess.PIPE, **environment: str) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error of main.py."""
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(MAIN), *words],
        env={"PATH": os.environ["PATH"], **environment},
        stdout=out,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout or b"", ended.stderr.decode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_name_can_be_listed_on_any_terminal(odd_names: str, encoding: str) -> None:
    code, out, err = run(
        *("coins", "list"), DATABASE_URL=odd_names, PYTHONIOENCODING=encoding, LANG="C"
    )
    assert (code, err) == (0, "")
    text = out.decode(encoding)
    assert not set(text) & set("\x1b\x07\u202e")
    assert r"bybit:\x1b]0;title\x07USDT" in text
    assert r"bybit:\u202eTDSU" in text
    assert ("bybit:币安人生USDT" if encoding == "utf-8" else r"bybit:\u5e01\u5b89") in text
    # An export is data for programs: the same bytes everywhere, which can be imported.
    code, exported, err = run(
        *("coins", "export"), DATABASE_URL=odd_names, PYTHONIOENCODING=encoding
    )
    assert (code, err) == (0, "")
    assert "币安人生USDT" in exported.decode("utf-8")


def test_a_market_is_disabled_by_the_name_that_the_list_shows(
    odd_names: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", odd_names)
    assert main(["coins", "disable", r"bybit:\x1b]0;title\x07USDT"]) == 0
    assert main(["coins", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "title" in line]
    assert line.split()[1] == "disabled"
    assert main(["coins", "disable", "bybit:\x1b[31mUSDT"]) == 1
    assert capsys.readouterr().err.startswith(r"perpcache: no such market: bybit:\x1b[31mUSDT")


@pytest.mark.parametrize("action", ["list", "export"])
def test_a_pipe_that_nobody_reads_ends_a_command_silently(odd_names: str, action: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as out:
        code, _, err = run("coins", action, out=out, DATABASE_URL=odd_names)
    assert (code, err) == (EXIT_BROKEN_PIPE, "")


def test_help_into_a_pipe_that_nobody_reads_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as out:
        code, _, err = run("--help", out=out)
    assert (code, err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
@pytest.mark.parametrize("action", ["list", "export"])
def test_a_full_disk_is_told_in_one_line(odd_names: str, action: str) -> None:
    with Path("/dev/full").open("wb") as out:
        code, _, err = run("coins", action, out=out, DATABASE_URL=odd_names)
    assert code == 1
    assert err == "perpcache: standard output cannot be written: No space left on device\n"


class _Failing(io.StringIO):
    """A stream that fails after its first line."""

    def write(self, text: str) -> int:
        if "\n" in self.getvalue():
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_job_goes_on_when_its_display_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Failing()
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console(width=80)
    for line in ("first", "second", "third"):
        console.say(line)
    assert stream.getvalue() == "first\n"


def test_texts_of_others_are_printed_as_they_are() -> None:
    out = io.StringIO()
    # [/b] closes nothing: as markup it would be an error, and :smile: a picture.
    Console(file=out, width=80, force_terminal=True).say("failed: [/b] :smile: \x1b[2J 币")
    assert out.getvalue() == "failed: [/b] :smile: \\x1b[2J 币\n"
