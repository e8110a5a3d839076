"""The command line as a newcomer meets it: help, version, refusals, words for what goes on."""

import ast
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from commands.arguments import COMMANDS
from main import build_parser, main
from market.timeframes import Timeframe
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "main.py"
# Programs that take the checkout as their first argument, and main's arguments after it.
OLD_PYTHON = """
import sys
sys.version_info = (3, 10, 13, "final", 0)
sys.path.insert(0, sys.argv.pop(1))
import main
sys.exit(main.main())
"""
LOADED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import main
try:
    main.main()
finally:
    print("loaded:", *sys.modules)
"""


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own programs
        [str(word) for word in command],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# The wrong Python.


def test_any_python_3_can_load_main() -> None:
    tree = ast.parse(MAIN.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in tree.body if isinstance(node, ast.Import)]
    imported = {name.name for node in imports for name in node.names}
    imported |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    # All of these were there in Python 3.6.
    assert imported == {"argparse", "contextlib", "shutil", "sys", "pathlib", "typing"}


@pytest.mark.parametrize("words", [[], ["serve"], ["collect", "4h"], ["demo"], ["simulate"]])
def test_without_the_packages_one_line_says_what_to_run(words: list[str]) -> None:
    ended = run(sys.executable, "-S", MAIN, *words)
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert re.match(r"perpcache: the package \w+ is not installed for Python 3\.", line)
    assert sys.executable in line
    assert "make run" in line or ".venv/bin/python main.py" in line


def checkout(folder: Path) -> Path:
    """main.py in a folder of its own, with what it loads before it needs a package."""
    for name in ("commands", "market", "texts", "config.py"):
        (folder / name).symlink_to(ROOT / name)
    return Path(shutil.copy(MAIN, folder))


def test_what_to_run_instead_depends_on_what_is_there(tmp_path: Path) -> None:
    program = checkout(tmp_path)

    def instead(python: str | Path) -> str:
        ended = run(python, "-S", program, "collect", "4h", PATH=str(tmp_path))
        assert ended.returncode == 78
        return ended.stderr

    assert "install make and use `make run`, or `python3 -m venv .venv`" in instead(sys.executable)
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    assert "`make run` installs what it needs into .venv and starts it" in instead(sys.executable)
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert "use .venv/bin/python main.py" in instead(sys.executable)
    # It is that one already: what it lacks came with a newer version.
    assert "`make run` installs what it needs into .venv and starts it" in instead(own)


def test_an_environment_that_its_user_may_not_enter_is_not_recommended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.stat

    def stat(path: str | Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if str(path).endswith(".venv/bin/python"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    assert main([]) == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert ".venv/bin/python main.py, which make" not in line


def test_an_old_python_is_refused_with_one_line() -> None:
    ended = run(sys.executable, "-c", OLD_PYTHON, ROOT, "collect", "4h")
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("perpcache: Perpcache needs Python 3.11 or newer, ")
    assert "and this is Python 3.10.13 at " in line
    assert "make run" in line or ".venv/bin/python main.py" in line


@pytest.mark.parametrize("minor", [6, 7, 8, 9, 10])
def test_an_old_python_that_is_at_hand_is_refused_too(minor: int) -> None:
    found = shutil.which(f"python3.{minor}")
    if found is None or run(found, "-c", "").returncode != 0:
        pytest.skip(f"there is no Python 3.{minor} here")
    ended = run(found, MAIN, "--version")
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert f"and this is Python 3.{minor}." in line


def test_a_module_of_ours_that_is_missing_is_a_mistake_and_not_hidden(tmp_path: Path) -> None:
    copy = shutil.copy(MAIN, tmp_path)
    (tmp_path / "commands").mkdir()
    ended = run(sys.executable, copy, "--help")
    assert ended.returncode == 1
    assert "No module named 'commands.terminal'" in ended.stderr


# Help and version.


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["collect", "--help"]])
def test_help_and_version_load_nothing_but_the_standard_library(words: list[str]) -> None:
    ended = run(sys.executable, "-c", LOADED, ROOT, *words)
    printed, _, names = ended.stdout.partition("loaded:")
    assert printed
    loaded = {name.partition(".")[0] for name in names.split()}
    ours = {"main", "commands", "texts", "market", "documents", "job_queue", "api"}
    foreign = loaded - set(sys.stdlib_module_names) - ours
    # What the environment's own .pth files load at the start of any program.
    before = set(run(sys.executable, "-c", "import sys; print(*sys.modules)").stdout.split())
    assert foreign - {name.partition(".")[0] for name in before} == set()
    assert not {"asyncio", "ssl"} & loaded


@pytest.mark.parametrize(
    ("command", "without"),
    [
        ("serve", {"fastapi", "starlette", "uvicorn", "asyncpg", "data_collector", "jobs"}),
        ("api", {"data_collector", "jobs"}),
        ("worker", {"fastapi", "starlette", "uvicorn"}),
        ("coins", {"fastapi", "data_collector", "jobs"}),
    ],
)
def test_a_process_loads_only_what_it_runs(command: str, without: set[str]) -> None:
    program = f"import sys, commands.{command}; print(*sys.modules)"
    loaded = run(sys.executable, "-c", program, PYTHONPATH=str(ROOT)).stdout.split()
    assert f"commands.{command}" in loaded
    assert without & set(loaded) == set()


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert capsys.readouterr().out == f"perpcache {version[1]}\n"


@pytest.mark.parametrize(
    ("words", "choices"),
    [(["colect"], [row.name for row in COMMANDS]), (["collect", "7m"], [*Timeframe, "all"])],
)
def test_what_is_not_known_is_answered_with_what_is(
    words: list[str], choices: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"invalid choice: '{words[-1]}'" in error
    (shown,) = re.findall(r"\(choose from (.*)\)", error)
    assert shown.replace("'", "").split(", ") == choices
    known = {"serve", "api", "worker", "collect", "funding", "coins", "simulate", "demo"}
    assert set(choices) >= (known if words == ["colect"] else {"5m", "4h", "8h", "1d"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--markets", "0"], "argument --markets: must be 1 to 2000"),
        (["demo", "--markets", "many"], "argument --markets: must be 1 to 2000"),
        (["simulate", "--port", "65536"], "argument --port: must be 0 to 65535"),
        (["simulate", "--port", "-1"], "argument --port: must be 0 to 65535"),
        (["simulate", "--bybit", "2001"], "argument --bybit: must be 0 to 2000"),
        (
            ["api", "--fd", "99999"],
            "argument --fd: must be the descriptor of an inherited socket",
        ),
        (
            ["api", "--fd", "9" * 30],
            "argument --fd: must be the descriptor of an inherited socket",
        ),
        (
            ["serve", "--parent-fd", "-7"],
            "argument --parent-fd: must be the descriptor of an inherited pipe",
        ),
    ],
)
def test_a_number_out_of_range_is_answered_with_the_range(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")


@pytest.mark.parametrize("timeframe", Timeframe)
def test_every_documents_timeframe_can_be_collected(timeframe: Timeframe) -> None:
    arguments = build_parser().parse_args(["collect", timeframe])
    assert arguments.timeframe == timeframe


# What commands print.


async def ended(service: Service, deadline_s: float = 60) -> tuple[int, list[str]]:
    """The exit code and the lines of a command that ends by itself."""
    code = await asyncio.wait_for(service.process.wait(), deadline_s)
    await service.stop()
    return code, list(service.lines)


async def test_collect_8h_runs_the_job_that_makes_it_and_shows_its_way(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    redis_url: str,
) -> None:
    simulator = start_simulator(binance=3, bybit=3, latency_ms=300)
    settings = service_settings(simulator, CONCURRENCY_LIMIT="2")
    for words in (["funding"], ["collect", "8h"]):
        code, lines = await ended(await start_service(*words, wait=False, **settings))
        assert code == 0, lines
    assert lines[0] == "collect:4h makes the 8h document too"
    assert lines[-1].startswith("collect:4h complete: markets 6  ")
    assert all(line.startswith("collect:4h") for line in lines), lines
    # The candles and the open interest of six markets, all of them.
    assert "collect:4h: asking the exchanges 12/12" in lines
    with redis.Redis.from_url(redis_url) as store:
        assert store.exists("cache:4h", "cache:8h") == 2


async def test_a_one_shot_command_prints_its_own_lines_alone(start_service: StartService) -> None:
    # On embedded stores, whose start and end have much to tell.
    code, lines = await ended(await start_service("coins", "list", wait=False))
    assert (code, lines[1:]) == (0, ["0 markets, 0 of them collected"])
    code, lines = await ended(await start_service("coins", "list", wait=False, LOG_LEVEL="INFO"))
    assert code == 0
    assert len(lines) > 2
    assert any("postgres" in line for line in lines)


def test_a_malformed_market_is_refused_before_any_store_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for words in (
        ["disable", "NOPE"],
        ["enable", "binance"],
        ["import", "none.csv"],
    ):
        assert main(["coins", *words]) == 1
        assert words[-1] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


# Ctrl-C.


INTERRUPTED = """
import signal, sys
sys.path.insert(0, sys.argv.pop(1))
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "commands.arguments":
            signal.raise_signal(signal.SIGINT)
import main
sys.meta_path.insert(0, Interrupt())
sys.exit(main.main())
"""


def test_an_interrupt_while_it_loads_prints_nothing() -> None:
    ended = run(sys.executable, "-c", INTERRUPTED, ROOT, "coins", "list")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_demo_that_is_stopped_removes_its_data(
    tmp_path: Path, number: signal.Signals
) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        MAIN,
        "demo",
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert demo.stdout is not None
        async with asyncio.timeout(60):
            while b"Starting" not in await demo.stdout.readline():
                assert demo.returncode is None
            demo.send_signal(number)
            demo.send_signal(number)  # a second one does not cut the removal short
            rest, _ = await demo.communicate()
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert demo.returncode == 130
    assert b"Traceback" not in rest
    assert list(tmp_path.glob("perpcache-demo-*")) == []  # noqa: ASYNC240 - one small folder


def test_a_path_that_cannot_be_used_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    monkeypatch.setenv("DATA_DIR", str(taken))
    assert main(["collect", "4h"]) == 69
    assert capsys.readouterr().err == f"perpcache: DATA_DIR {taken} cannot be used: File exists\n"
    assert main(["coins", "import", str(tmp_path / "none.csv")]) == 1
    line = f"perpcache: {tmp_path}/none.csv cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == line


# make and pip.


def made(folder: Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    return run(
        make, "-C", folder, "demo", *(f"{name}={value}" for name, value in variables.items())
    )


def python_that(folder: Path, *, fails: str) -> Path:
    """A Python of which one thing does not work."""
    program = folder / "python-broken"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *{fails}*) exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (None, "nowhere/python is not found: install Python 3.11 or newer"),
        ("version_info", "python-broken is older than Python 3.11: set PYTHON="),
        ("ensurepip", "python-broken has no venv module: install it"),
    ],
)
def test_make_says_in_one_line_what_is_missing(
    tmp_path: Path, fails: str | None, said: str
) -> None:
    python = python_that(tmp_path, fails=fails) if fails else tmp_path / "nowhere" / "python"
    ended = made(tmp_path, PYTHON=python)
    assert ended.returncode == 2
    lines = [line for line in ended.stdout.splitlines() if "Entering" not in line]
    (line,) = (line for line in lines if "Leaving" not in line)
    assert said in line
    (told,) = ended.stderr.splitlines()  # make's own
    assert told.startswith("make: ***")
    assert not (tmp_path / ".venv").exists()


def test_pip_install_says_why_it_does_not(tmp_path: Path) -> None:
    ended = run(
        *(sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"),
        *("--disable-pip-version-check", "--target", tmp_path / "there", ROOT),
    )
    assert ended.returncode == 1
    assert "Perpcache is a program, not a package" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (tmp_path / "there").exists()
