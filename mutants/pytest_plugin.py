"""A pytest plugin that notes which lines each test runs, and how long it takes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

from mutants.covered_lines import FOLDER, ROOMS


class _Recorder:
    def __init__(self, folder: Path, rooms: list[str], process: str) -> None:
        self._file = folder / f"run.{process}.json"
        self._coverage = coverage.Coverage(
            data_file=str(folder / f"run.coverage.{process}"),
            config_file=False,
            include=[f"{room}/*" if Path(room).is_dir() else room for room in rooms],
        )
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._coverage.start()

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leaves out the tests that start whole services: their lines are not seen here."""
        services = [item for item in items if "start_service" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=services)
        items[:] = [item for item in items if item not in services]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self._failed.add(report.nodeid)
        taken = self._seconds.get(report.nodeid, 0.0)
        self._seconds[report.nodeid] = taken + report.duration

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        passed = {name: s for name, s in self._seconds.items() if name not in self._failed}
        self._file.write_text(json.dumps(passed))


def pytest_configure(config: pytest.Config) -> None:
    """Notes in the processes that run tests: those of xdist, or the only one."""
    process = os.environ.get("PYTEST_XDIST_WORKER", "")
    if process or not config.getoption("numprocesses", None):
        rooms = os.environ[ROOMS].split(",")
        recorder = _Recorder(Path(os.environ[FOLDER]), rooms, process or "only")
        config.pluginmanager.register(recorder)
