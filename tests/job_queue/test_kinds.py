"""The table of job kinds, and that everybody who speaks of jobs follows it."""

from typing import Any

import pytest

from api_routes import create_app
from config import load_settings
from documents.names import DOCUMENTS
from job_queue.kinds import (
    IDS_BY_LANE,
    JOB_IDS,
    KINDS,
    JobKind,
    Lane,
    collect_id,
    job_definition,
    job_id_of,
    lane_of,
    producer_of,
    producers_of,
)
from jobs.runners import RUNNERS
from main import build_parser
from market.timeframes import COLLECTED, Timeframe
from metrics.worker import WorkerMetrics

# What the releases before wrote into stores, and what clients know: names may join, none may go.
IDS_OF_THE_FIRST_RELEASE = (
    "collect:5m",
    "collect:15m",
    "collect:30m",
    "collect:1h",
    "collect:2h",
    "collect:4h",
    "collect:6h",
    "collect:12h",
    "collect:1d",
    "discovery",
    "funding",
)


def test_ids_and_lanes_that_stores_hold_stay() -> None:
    assert set(IDS_OF_THE_FIRST_RELEASE) <= set(JOB_IDS)
    assert {lane_of(job_id) for job_id in JOB_IDS} == {
        "worker",
        "funding",
        "history",
        "backfill",
        "providers",
    }
    assert lane_of("discovery") == "worker"
    assert lane_of("funding") == "funding"
    assert {lane_of(job_id) for job_id in JOB_IDS if job_id.startswith("collect:")} == {"worker"}


def test_the_kinds_as_the_api_knows_them() -> None:
    assert {kind.name: (str(kind.lane), kind.internal, kind.produces) for kind in KINDS} == {
        "collect": ("worker", None, ()),
        "funding": ("funding", "update-fr", ("global_fr",)),
        "discovery": ("worker", "update-coins", ()),
        "fill": ("worker", None, ()),
        "record": ("history", None, ()),
        "compaction": ("history", None, ()),
        "retention": ("history", None, ()),
        "integrity": ("history", None, ()),
        "backfill": ("backfill", None, ()),
        "holes": ("backfill", None, ()),
        "providers": ("providers", None, ()),
        "providers_all": ("providers", None, ()),
    }
    assert job_definition("collect:4h").produces == ("4h", "8h")


def test_one_job_collects_all_timeframes() -> None:
    job = job_definition("collect:all")
    assert (job.kind.name, lane_of(job.id), job.timeframe) == ("collect", "worker", None)
    assert job.asked == "all"
    assert job.produces == ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
    assert collect_id("all") == "collect:all"
    assert [job_definition(job_id).asked for job_id in ("collect:4h", "funding", "discovery")] == [
        "4h",
        None,
        None,
    ]


def test_the_setting_of_timeframes_limits_the_job_of_all_alone() -> None:
    some = (Timeframe.D1, Timeframe.M5, Timeframe.H1)
    assert job_definition("collect:all").published(some) == ("5m", "1h", "1d")
    assert job_definition("collect:4h").published(some) == ("4h", "8h")
    assert job_definition("funding").published(some) == ("global_fr",)
    assert job_definition("discovery").published(some) == ()


def test_the_producers_of_a_document_are_its_own_job_and_that_of_all() -> None:
    every = tuple(Timeframe)
    assert producers_of("8h", every) == producers_of("4h", every) == ("collect:4h", "collect:all")
    assert producers_of("4h", (Timeframe.M5,)) == ("collect:4h",)
    assert producers_of("5m", (Timeframe.M5,)) == ("collect:5m", "collect:all")
    assert producers_of("global_fr", every) == ("funding",)
    with pytest.raises(ValueError, match="no job makes a document '7m'"):
        producers_of("7m", every)


def test_every_job_is_named_once_and_runs_in_one_lane() -> None:
    assert len(JOB_IDS) == len(set(JOB_IDS))
    assert list(IDS_BY_LANE) == [str(lane) for lane in Lane]
    assert sorted(job_id for ids in IDS_BY_LANE.values() for job_id in ids) == sorted(JOB_IDS)


def test_every_document_is_made_by_one_job_of_its_own() -> None:
    jobs = map(job_definition, JOB_IDS)
    made = [document for job in jobs if not job.is_of_all for document in job.produces]
    assert sorted(made) == sorted(DOCUMENTS)
    assert producer_of("8h") == producer_of("4h") == "collect:4h"
    assert producer_of("global_fr") == "funding"
    assert collect_id(Timeframe.H8) == "collect:4h"
    assert collect_id(Timeframe.M5) == "collect:5m"
    for timeframe in Timeframe:
        assert collect_id(timeframe) == producer_of(timeframe)


def test_an_unknown_job_is_named_with_the_known_ones() -> None:
    message = f"unknown job 'collect:3h': the jobs are collect:{COLLECTED[0]},"
    with pytest.raises(ValueError, match=message):
        job_definition("collect:3h")


def test_every_kind_has_a_function_and_every_function_a_kind() -> None:
    assert set(RUNNERS) == {kind.name for kind in KINDS}


def schema_of_a_job() -> Any:
    def connect() -> Any:
        raise AssertionError("nobody connects")

    return create_app(load_settings(), connect).openapi()["components"]["schemas"]["Job"]


def test_the_api_shows_every_kind() -> None:
    kinds = schema_of_a_job()["properties"]["kind"]
    assert kinds["type"] == "string"
    assert kinds["enum"] == [kind.name for kind in KINDS]


def test_the_metrics_count_every_job_and_lane_from_zero() -> None:
    metrics = WorkerMetrics()
    metrics.watch_jobs(IDS_BY_LANE.items())
    value = metrics.registry.get_sample_value
    for job_id in JOB_IDS:
        labels = {"job_id": job_id, "outcome": "complete"}
        assert value("perpcache_job_runs_total", labels) == 0
    for lane in Lane:
        labels = {"lane": lane.value, "outcome": "acquired"}
        assert value("perpcache_lease_requests_total", labels) == 0


def test_the_api_queues_what_the_table_says() -> None:
    def connect() -> Any:
        raise AssertionError("nobody connects")

    paths = create_app(load_settings(), connect).openapi()["paths"]
    internal = {path for path in paths if path.startswith("/api/v1/internal/")}
    assert internal == {f"/api/v1/internal/{kind.internal}" for kind in KINDS if kind.internal}
    assert {"/api/v1/internal/update-fr", "/api/v1/internal/update-coins"} <= internal


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.command], ids=lambda k: k.name)
def test_the_command_line_runs_what_the_table_says(kind: JobKind) -> None:
    for asked in (job.asked for job in kind.jobs()):
        argv = [kind.name, "--no-wait", *([asked] if asked else [])]
        arguments = build_parser().parse_args(argv)
        assert (arguments.command, arguments.no_wait) == (kind.name, True)
        assert job_id_of(kind.name, asked) in JOB_IDS
