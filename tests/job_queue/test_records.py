"""A job's stored fields as typed values: each field, its default, and how much of it is read."""

from typing import Any, Final

import pytest

from job_queue.records import JobRecord, LastRun, UnreadableRecord, read_record, sequence_of

FIELDS: Final = {
    "state": "complete",
    "run": "7",
    "seq": "70",
    "enqueued_at": "11",
    "started_at": "12",
    "finished_at": "13",
    "attempts": "2",
    "phase": "done",
    "done": "4",
    "total": "6",
    "error": "why",
    "result": '{"rows":1}',
    "coalesced": "1",
    "rerun_seq": "5",
    "last_run": "6",
    "last_state": "failed",
    "last_as_of": "21",
    "last_finished_at": "22",
    "last_result": '{"rows":2}',
    "last_error": "then",
    "failures": "3",
}


def flat(**fields: str) -> list[bytes]:
    return [word.encode() for pair in fields.items() for word in pair]


def test_a_whole_record() -> None:
    assert read_record("funding", flat(**FIELDS)) == JobRecord(
        *("funding", 7, "complete", True, True, 11, 12, 13, 2, "done", 4, 6, "why", {"rows": 1}),
        last=LastRun(6, "failed", 21, 22, {"rows": 2}, "then"),
        failures=3,
    )
    assert sequence_of(flat(**FIELDS)) == 70


def test_the_least_of_a_record() -> None:
    assert read_record("funding", flat(state="queued")) == JobRecord(
        *("funding", 0, "queued", False, False, None, None, None, 0, "queued", 0, 0, None, None),
        last=None,
    )
    assert sequence_of(flat(state="queued")) == 0
    last = read_record("funding", flat(state="queued", last_run="0")).last
    assert last == LastRun(0, "", None, 0, None, None)


@pytest.mark.parametrize(("given", "run"), [(None, 7), (9, 9), (0, 7)])
def test_the_run_that_answers_a_request_comes_first(given: int | None, run: int) -> None:
    assert read_record("funding", flat(**FIELDS), run=given).run == run


@pytest.mark.parametrize("text", ["0", "", "2", "true"])
def test_only_1_is_coalesced(text: str) -> None:
    assert read_record("funding", flat(state="queued", coalesced=text)).coalesced is False


@pytest.mark.parametrize(
    ("state", "pending"),
    [
        *(("queued", True), ("active", True)),
        *(("complete", False), ("failed", False), ("aborted", False)),
    ],
)
def test_queued_and_active_jobs_are_pending(state: str, pending: bool) -> None:
    record = read_record("funding", flat(state=state))
    assert (record.state, record.is_pending) == (state, pending)


@pytest.mark.parametrize("fields", [{}, {"state": ""}, {"state": "paused"}, {"run": "1"}])
def test_a_record_without_a_known_state_is_unreadable(fields: dict[str, str]) -> None:
    with pytest.raises(UnreadableRecord, match="has the unknown state"):
        read_record("funding", flat(**fields))


def padded(length: int) -> str:
    """A JSON object of so many bytes."""
    return '{"a":"' + "x" * (length - 8) + '"}'


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("error", "x" * 2_000, "x" * 2_000),
        ("error", "x" * 2_001, "x" * 2_000),
        ("error", "\U0001f600" * 2_001, "\U0001f600" * 2_000),
        ("phase", "x" * 2_001, "x" * 2_000),
        ("result", padded(10_000), {"a": "x" * 9_992}),
        ("result", padded(10_001), None),
        ("result", '{"a":' * 32 + "[" * 32 + "]" * 32 + "}" * 32, "nested"),
        ("result", '{"a":' * 32 + "[" * 33 + "]" * 33 + "}" * 32, None),
        ("result", '{"a":' * 33 + "[" * 32 + "]" * 32 + "}" * 33, None),
        ("result", '["a"]', None),
        ("result", '{"a"', None),
        ("started_at", "1" * 15, 111_111_111_111_111),
        ("started_at", "1" * 16, None),
        ("started_at", "-1", None),
        ("started_at", "1.0", None),
    ],
)
def test_how_much_of_a_field_is_read(name: str, text: str, read: Any) -> None:
    found = getattr(read_record("funding", flat(state="failed", **{name: text})), name)
    assert isinstance(found, dict) if read == "nested" else found == read


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert read_record("funding", [b"state", b"failed", b"error", b"a\xff"]).error == "a\ufffd"
