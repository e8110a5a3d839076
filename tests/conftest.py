"""Every fixture lives in tests/fixtures, one file for each real thing that tests talk to."""

pytest_plugins = [
    "tests.fixtures.environment",
    "tests.fixtures.disk",
    "tests.fixtures.valkey",
    "tests.fixtures.postgres",
    "tests.fixtures.simulator",
    "tests.fixtures.service",
    "tests.fixtures.upstash",
    "tests.fixtures.api",
    "tests.fixtures.office",
]
