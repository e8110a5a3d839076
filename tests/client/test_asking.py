"""When a question is asked again, how long it waits, and which error it ends with; no I/O."""

from collections.abc import Sequence
from typing import Any

import pytest

from perpcache_client.asking import Asker, Broken, Pause, Read, Reply, Request, Send, Steps
from perpcache_client.errors import (
    BadAnswer,
    InvalidRequest,
    NotFound,
    PerpcacheError,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
)
from perpcache_client.questions import Questions

BUSY = Reply(503, {}, b'{"detail": "no answer in time"}')
GOOD = Reply(200, {}, b'{"a": 1}')


class Time:
    """A clock that only pauses and slow requests move."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def run(
    answers: Sequence[Reply | Broken],
    timeout_s: float = 60.0,
    took_s: float = 0.0,
    dice: float = 1.0,
) -> tuple[Any, list[float]]:
    """What the question ends with, an error or an answer, and the pauses that it made."""
    clock = Time()
    steps: Steps[Any] = Asker(timeout_s, clock, lambda: dice).ask(Request("/a"), Reply.json)
    return drive(steps, clock, answers, took_s)[:2]


def drive(
    steps: Steps[Any], clock: Time, answers: Sequence[Reply | Broken], took_s: float = 0.0
) -> tuple[Any, list[float], list[str]]:
    """The same of any question, and the paths that it asked."""
    paths: list[str] = []
    pauses: list[float] = []
    left = list(answers)
    result: Any = None
    failure: Exception | None = None
    try:
        while True:
            step = steps.send(result) if failure is None else steps.throw(failure)
            result = failure = None
            match step:
                case Send():
                    assert step.deadline_s > clock.s
                    paths.append(step.request.path)
                    clock.s += took_s
                    result = left.pop(0) if len(left) > 1 else left[0]
                    if isinstance(result, Broken):
                        failure = result
                case Read():
                    try:
                        result = step.read(step.reply)
                    except PerpcacheError as wrong:
                        failure = wrong
                case Pause():
                    pauses.append(step.seconds)
                    clock.s += step.seconds
                case _:
                    raise AssertionError(step)
    except StopIteration as done:
        return done.value, pauses, paths
    except PerpcacheError as error:
        return error, pauses, paths


def test_pauses_double_up_to_a_bound_until_there_is_an_answer() -> None:
    answer, pauses = run([BUSY] * 7 + [GOOD])
    assert answer == {"a": 1}
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


def test_half_of_a_pause_is_by_chance() -> None:
    assert run([BUSY, BUSY, GOOD], dice=0.0)[1] == [0.25, 0.5]


def test_retry_after_is_honoured() -> None:
    slow = Reply(429, {"retry-after": "5"}, b'{"detail": "too many"}')
    assert run([slow, GOOD]) == ({"a": 1}, [5.0])
    # Where that is after the deadline, there is nothing to wait for.
    error, pauses = run([slow], timeout_s=4.0)
    assert isinstance(error, TooManyRequests)
    assert (error.retry_after_s, pauses) == (5.0, [])


def test_the_deadline_ends_it_with_the_last_cause() -> None:
    error, pauses = run([BUSY], timeout_s=3.0)
    assert isinstance(error, ServiceUnavailable)
    assert (str(error), error.status) == ("503: no answer in time", 503)
    assert pauses == [0.5, 1.0]


def test_what_takes_all_the_time_is_a_timeout() -> None:
    error, pauses = run([Broken("read timed out", timed_out=True)], timeout_s=30.0, took_s=20.0)
    assert isinstance(error, Timeout)
    assert isinstance(error, TimeoutError)
    assert pauses == [0.5]
    error, _ = run([Broken("refused")], timeout_s=30.0)
    assert isinstance(error, ServiceUnavailable)


def test_what_is_not_perpcaches_is_asked_for_three_times() -> None:
    error, pauses = run([Reply(200, {}, b"<html>")])
    assert isinstance(error, BadAnswer)
    assert len(pauses) == 2
    assert run([Reply(200, {}, b"{"), GOOD])[0] == {"a": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, BadAnswer),
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (409, InvalidRequest),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, TooManyRequests),
        (500, ServiceUnavailable),
        (502, ServiceUnavailable),
        (503, ServiceUnavailable),
        (504, ServiceUnavailable),
        (501, BadAnswer),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[PerpcacheError]) -> None:
    error, pauses = run([Reply(status, {}, b"not JSON")], timeout_s=0.4)
    assert type(error) is kind
    assert error.status == status
    assert pauses == []


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"detail": [1, {"loc": 5}]}', b"\xff"])
def test_any_body_of_an_error_is_survived(body: bytes) -> None:
    error, _ = run([Reply(422, {}, body)])
    assert type(error) is InvalidRequest


def test_a_service_without_arrow_is_asked_for_it_again_after_ten_minutes() -> None:
    """It may have been updated; one that was, and went back, is read as well."""
    detail = b'{"detail":[{"type":"enum","loc":["path","name"],"msg":"must be one of 4h"}]}'
    old, same = Reply(422, {}, detail), Reply(304, {})
    clock = Time()
    questions = Questions(Asker(60.0, clock))

    def asked(*answers: Reply) -> list[str]:
        table, _, paths = drive(questions.table("4h", ()), clock, answers)
        assert table is None
        return paths

    assert asked(old, same) == ["/cache/4h.arrow", "/cache/4h"]
    clock.s += 599.0
    assert asked(same) == ["/cache/4h"]
    clock.s += 2.0
    assert asked(same) == ["/cache/4h.arrow"]
    assert asked(old, same) == ["/cache/4h.arrow", "/cache/4h"]
    assert asked(same) == ["/cache/4h"]
