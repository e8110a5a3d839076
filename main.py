"""Entry point: the command line and its exit codes; what each command does is in commands/.

It imports only the standard library at the top: any Python 3 can load it without our packages and
print what is missing, and a process loads only what its command needs.
"""

import argparse
import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from commands.runtime import Command

OLDEST_PYTHON = (3, 11)
HOME = Path(__file__).resolve().parent
EXIT_CONFIG = 78  # sysexits.h: EX_CONFIG
EXIT_INTERRUPTED = 130


def main(argv: "Sequence[str] | None" = None) -> int:
    """Runs the command that `argv` names; returns the exit code."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        return _refuse(f"Perpcache needs Python 3.11 or newer, and this is {_python()}")
    try:
        return _run_with_output(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # while it loads: a command that runs has its own signal handlers
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or (HOME / package).exists() or (HOME / f"{package}.py").exists():
            raise
        return _refuse(f"the package {package} is not installed for {_python()}")


def _python() -> str:
    return f"Python {'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"


def _refuse(what: str) -> int:
    """Prints in one line why this Python cannot run it and what to use instead."""
    own = HOME / ".venv" / "bin" / "python"
    if shutil.which(str(own)) and not own.parent.samefile(Path(sys.executable).parent):
        instead = "use .venv/bin/python main.py, which make has set up"
    elif shutil.which("make"):
        instead = "`make run` installs what it needs into .venv and starts it"
    else:
        instead = (
            "install make and use `make run`, or `python3 -m venv .venv` and "
            "`.venv/bin/pip install -r requirements.txt`, then .venv/bin/python main.py"
        )
    sys.stderr.write(f"perpcache: {what}: {instead}\n")
    return EXIT_CONFIG


def build_parser(argv: "Sequence[str] | None" = None) -> argparse.ArgumentParser:
    """Builds the parser. Only the command named in `argv` gets its arguments; all do without it."""
    from commands.arguments import COMMANDS

    parser = argparse.ArgumentParser(
        prog="python main.py",
        description="Perpcache: candles, open interest and funding of every perpetual contract on "
        "Binance, Bybit and OKX, collected once and served to many clients.",
        epilog="Settings come from the environment or a .env file; docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for row in COMMANDS:
        command = commands.add_parser(row.name, help=row.summary, description=row.summary)
        if argv is None or row.name in argv:
            row.add_arguments(command)
    parser.set_defaults(command="serve", parent_fd=None, one_process=False)
    return parser


def _run_with_output(argv: "Sequence[str]") -> int:
    from commands.terminal import accept_any_character, flush_output

    accept_any_character()
    try:
        return _run(argv)
    finally:
        flush_output()


def _run(argv: "Sequence[str]") -> int:
    arguments = build_parser(argv).parse_args(argv)
    if arguments.version:
        from api.version import read_version

        print(f"perpcache {read_version()}")  # noqa: T201 - what was asked for
        return 0
    if arguments.command == "simulate":
        from simulator import command_line

        return command_line.run(arguments)
    if arguments.command == "demo":
        from commands import demo

        return demo.run(arguments)
    from commands.errors import EXIT_UNAVAILABLE, CommandError
    from config import SettingsError

    try:
        return _run_with_settings(arguments)
    except SettingsError as error:
        print_error(*error.lines)
        return EXIT_CONFIG
    except CommandError as error:
        print_error(*str(error).splitlines())
        return error.exit_code
    except Exception as error:
        if not _is_outage(error):
            raise
        print_error(*str(error).splitlines())
        return EXIT_UNAVAILABLE


def _run_with_settings(arguments: argparse.Namespace) -> int:
    from addresses.environment import environment_of
    from addresses.secrets import secrets_of_environment
    from commands import runtime
    from commands.arguments import ONE_SHOT
    from config import load_settings
    from logging_setup import configure_logging

    settings = load_settings()
    level = settings.log_level
    is_quiet = arguments.command in ONE_SHOT and getattr(arguments, "action", None) != "run"
    if is_quiet and "log_level" not in settings.model_fields_set:
        level = "WARNING"  # these commands print their own lines
    secrets = [*settings.secrets(), *secrets_of_environment(environment_of())]
    configure_logging(level, settings.log_format, secrets)
    runtime.prepare()
    return runtime.run(_load(arguments), settings, arguments)


def _load(arguments: argparse.Namespace) -> "Command":
    """Imports and returns the function that runs a command."""
    from commands.arguments import JOB_COMMANDS, ONE_SHOT

    command = arguments.command
    if command == "api":
        from commands import api

        return api.run
    if command == "worker":
        from commands import worker

        return worker.run
    if command == "beat":
        from commands import beat

        return beat.run
    if command == "live":
        from commands import live

        return live.run
    if command in JOB_COMMANDS:
        from commands import foreground

        return foreground.run
    if command in ONE_SHOT:
        return _load_one_shot(command)
    if arguments.one_process:
        from commands import one_process

        return one_process.run
    from commands import serve

    return serve.run


def _load_one_shot(command: str) -> "Command":
    """The same for the commands that end by themselves, and are no jobs."""
    if command == "backfill":
        from commands import backfill

        return backfill.run
    if command == "coins":
        from commands import coins

        return coins.run
    if command == "mcp":
        from commands import mcp

        return mcp.run
    if command == "import":
        from commands import import_files

        return import_files.run
    if command == "workers":
        from commands import workers

        return workers.run
    if command == "providers":
        from commands import providers

        return providers.run
    if command == "unpause":
        from commands import unpause

        return unpause.run
    if command == "notify-test":
        from commands import notify_test

        return notify_test.run
    if command == "sql":
        from commands import sql

        return sql.run
    from commands import export

    return export.run


def _is_outage(error: Exception) -> bool:
    """Whether a store cannot be reached; the message of such an error is written for users."""
    from database import DatabaseUnavailable
    from stores.embedded.stores import EmbeddedStoresError
    from stores.hot.store import StoreUnavailable

    return isinstance(error, (EmbeddedStoresError, StoreUnavailable, DatabaseUnavailable))


def print_error(*lines: str) -> None:
    """Writes lines to standard error, each with the program's name."""
    from texts.printable import printable

    with contextlib.suppress(OSError):
        for line in lines:
            sys.stderr.write(f"perpcache: {printable(line)}\n")


if __name__ == "__main__":
    sys.exit(main())
