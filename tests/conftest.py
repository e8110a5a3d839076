"""Every fixture lives in tests/fixtures, one file for each real thing that tests talk to."""

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from commands import runtime
from tests.fixtures import plain_logs

# Before anything imports numpy: its threads on as many cores as pytest has processes are no help.
runtime.prepare()
plain_logs.configure()

# Whole services that take half a minute and more: begun first, they do not end last, alone.
LONG = (
    *("test_main_job.py", "test_large_documents.py", "test_benchmarks.py", "test_crashes.py"),
    *("test_two_services.py", "test_carry_over.py", "test_chaos.py", "test_readme.py"),
    *("test_worker.py", "test_live.py", "test_upstash_service.py"),
    *("test_hour_of_faults.py", "test_secrets.py", "test_providers_part.py", "test_schema.py"),
)

# The folder whose tests one process of pytest runs.
TOGETHER = "dashboard"

# By default an example of more than 200 ms fails, which a busy machine does to any.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

pytest_plugins = [
    "tests.fixtures.stalls",
    "tests.fixtures.environment",
    "tests.fixtures.environments",
    "tests.fixtures.disk",
    "tests.fixtures.valkey",
    "tests.fixtures.postgres",
    "tests.fixtures.mariadb",
    "tests.fixtures.simulator",
    "tests.fixtures.service",
    "tests.fixtures.upstash",
    "tests.fixtures.cache",
    "tests.fixtures.api",
    "tests.fixtures.chromium",
    "tests.fixtures.controlled_workers",
    "tests.fixtures.job_queue",
    "tests.fixtures.jobs",
    "tests.fixtures.schedules",
    "tests.fixtures.earlier_release",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The modules and tests of a whole run are more than half a million objects that stay: looking
    through them for garbage, again and again, took a quarter of the time of finding the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        # How often is left as it is: what a test has left in cycles must not wait for a later one.
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # once it is known which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
    # Each process that runs a test of the page starts a service and a browser for it. Processes
    # begin with equal shares of the list and take from the ends of each other's: at the beginning
    # of the second share, all these tests run in one process, from the start on.
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        share = len(items) // processes
        together = [item for item in items if item.path.parent.name == TOGETHER]
        others = [item for item in items if item.path.parent.name != TOGETHER]
        items[:] = [*others[:share], *together, *others[share:]]
