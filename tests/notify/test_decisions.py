"""What is told when, and why: the pure decisions, at moments that a test names."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from notify.decisions import Reason, due, followed, messages, told
from notify.record import Record, decode_known, encode_known
from notify.rules import KIND_RULES, Rules
from status.problem import Problem, ProblemKind
from tests.notify.problems import (
    BANNED,
    CRITICAL,
    DATABASE_AWAY,
    STALE,
    STORE_AWAY,
    WARNING,
    problem,
)
from timing.quiet_hours import parse_quiet_hours

S, MINUTE, HOUR = 1000, 60_000, 3_600_000
NIGHT = parse_quiet_hours("22:00-07:00 Europe/Berlin")


def at(text: str) -> int:
    """UTC ms of `2026-01-15 23:00` in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@dataclass
class Teller:
    """Looks and tells as the watcher does; `log` has the reasons and ids of what was told."""

    rules: Rules = field(default_factory=Rules)
    record: Record = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    sent: int = 0

    def look(self, now_ms: int, *problems: Problem) -> list[str]:
        """What is told at this moment: `begun exchange_banned:binance`."""
        self.record = followed(self.record, problems, self.rules, now_ms)
        found = []
        for message in messages(due(self.record, self.rules, now_ms), self.rules.most):
            self.record = told(self.record, message.sendings, now_ms)
            found += [f"{sending.reason} {sending.id}" for sending in message.sendings]
            self.sent += 1
        self.log += found
        return found

    def looks(self, begin_ms: int, end_ms: int, every_ms: int, *problems: Problem) -> list[str]:
        return [
            line
            for now_ms in range(begin_ms, end_ms, every_ms)
            for line in self.look(now_ms, *problems)
        ]


def test_a_problem_is_told_once_once_more_and_at_its_end() -> None:
    teller = Teller()
    assert teller.looks(0, HOUR, 5 * S, BANNED) == ["begun exchange_banned:binance"]
    assert teller.looks(HOUR, 9 * HOUR, 5 * S, BANNED) == ["again exchange_banned:binance"]
    assert teller.looks(9 * HOUR, 10 * HOUR, 5 * S) == ["ended exchange_banned:binance"]
    assert teller.record == {}


@pytest.mark.parametrize("kind", list(ProblemKind))
def test_every_kind_is_told_three_times(kind: ProblemKind) -> None:
    teller = Teller()
    found = problem(kind, "it")
    teller.looks(0, 3 * HOUR, 5 * S, found)
    teller.looks(3 * HOUR, 6 * HOUR, 5 * S)
    assert teller.log == [f"{word} {kind}:it" for word in ("begun", "again", "ended")]


def test_what_comes_and_goes_is_told_only_if_it_lasts() -> None:
    teller = Teller()
    for minute in range(20):  # 40 s of every minute
        teller.looks(minute * MINUTE, minute * MINUTE + 40 * S, 5 * S, STALE)
        teller.looks(minute * MINUTE + 40 * S, (minute + 1) * MINUTE, 5 * S)
    assert teller.log == []
    teller.looks(HOUR, HOUR + 3 * MINUTE, 5 * S, STALE)
    for minute in range(3, 20):
        teller.looks(HOUR + minute * MINUTE, HOUR + minute * MINUTE + 40 * S, 5 * S)
        teller.looks(HOUR + minute * MINUTE + 40 * S, HOUR + (minute + 1) * MINUTE, 5 * S, STALE)
    assert teller.log == ["begun markets_stale:bybit"]


def test_how_long_a_problem_must_last_can_be_set_for_all_kinds() -> None:
    teller = Teller(Rules(after_s=600))
    assert teller.looks(0, 10 * MINUTE, 5 * S, BANNED, STALE) == []
    assert len(teller.look(10 * MINUTE, BANNED, STALE)) == 2


def test_a_job_is_told_that_fails_twice() -> None:
    teller = Teller()
    once = problem(ProblemKind.JOB_FAILING, "collect:4h", WARNING)
    teller.looks(0, 5 * MINUTE, 5 * S, once)
    teller.looks(5 * MINUTE, 10 * MINUTE, 5 * S)
    assert teller.log == [] and teller.record == {}
    teller.looks(HOUR, HOUR + 5 * MINUTE, 5 * S, once)
    teller.looks(HOUR + 5 * MINUTE, HOUR + 6 * MINUTE, 5 * S, replace(once, severity=CRITICAL))
    assert teller.log == ["begun job_failing:collect:4h"]


def test_a_warning_that_becomes_critical_is_told_again() -> None:
    teller = Teller(Rules(after_s=0))
    worse = replace(STALE, severity=CRITICAL)
    teller.look(0, STALE)
    assert teller.looks(5 * S, MINUTE, 5 * S, worse) == ["worse markets_stale:bybit"]
    assert teller.looks(MINUTE, 2 * MINUTE, 5 * S, STALE) == []
    assert teller.looks(2 * MINUTE, 3 * MINUTE, 5 * S, worse) == []


def test_nothing_ends_while_what_tells_of_it_is_away() -> None:
    teller = Teller()
    failing = problem(ProblemKind.SCHEDULE_FAILING, "refresh", WARNING)
    teller.look(0, BANNED, failing)
    teller.looks(5 * S, HOUR - 5 * S, 5 * S, STORE_AWAY)
    assert teller.log[2:] == ["begun store_away:hot store"]
    teller.looks(HOUR - 5 * S, HOUR + 10 * MINUTE, 5 * S, BANNED, DATABASE_AWAY)
    assert sorted(teller.log[3:]) == [
        "again exchange_banned:binance",
        "again schedule_failing:refresh",
        "begun database_away:database",
        "ended store_away:hot store",
    ]
    teller.looks(2 * HOUR, 3 * HOUR, 5 * S)
    assert sorted(teller.log[7:]) == [
        "ended database_away:database",
        "ended exchange_banned:binance",
        "ended schedule_failing:refresh",
    ]


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("2026-01-15", "2026-01-15 21:00", "2026-01-16 06:00"),  # UTC+1
        ("2026-07-15", "2026-07-15 20:00", "2026-07-16 05:00"),  # UTC+2
        ("the night that is an hour short", "2026-03-28 21:00", "2026-03-29 05:00"),
        ("the night that is an hour long", "2026-10-24 20:00", "2026-10-25 06:00"),
    ],
)
def test_quiet_hours_follow_the_wall_clock(text: str, begins: str, ends: str) -> None:
    assert not NIGHT.hold(at(begins) - 1), text
    assert NIGHT.hold(at(begins)) and NIGHT.hold(at(ends) - 1), text
    assert not NIGHT.hold(at(ends)), text


def test_quiet_hours_within_a_day() -> None:
    noon = parse_quiet_hours("12:00 - 13:30")
    held = [noon.hold(at(f"2026-01-15 {text}")) for text in ("11:59", "12:00", "13:29", "13:30")]
    assert held == [False, True, True, False]


@pytest.mark.parametrize(
    "text", ["22:00", "22:00-22:00", "25:00-07:00", "22:00-07:60", "22:00-07:00 Mars/Base", "night"]
)
def test_wrong_quiet_hours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be two times|begins and ends|no IANA time zone"):
        parse_quiet_hours(text)


def test_warnings_of_the_night_are_one_message_in_the_morning() -> None:
    teller = Teller(Rules(quiet=NIGHT))
    others = [
        problem(ProblemKind.MARKETS_STALE, f"exchange-{number}", WARNING) for number in range(9)
    ]
    night, morning = at("2026-01-15 23:00"), at("2026-01-16 06:00")
    teller.looks(night - 3 * HOUR, night - 3 * HOUR + 2 * MINUTE, MINUTE, STALE)
    assert teller.log == ["begun markets_stale:bybit"]
    teller.looks(night, night + HOUR, MINUTE, STALE, *others)
    teller.looks(night + HOUR, morning, MINUTE, *others[1:])  # two have ended
    assert teller.log == ["begun markets_stale:bybit"] and teller.sent == 1
    lines = teller.look(morning, *others[1:])
    assert teller.sent == 2
    assert sorted(lines) == sorted(
        [f"begun markets_stale:exchange-{number}" for number in range(1, 9)]
        + ["ended markets_stale:bybit", "ended markets_stale:exchange-0"]
    )


@pytest.mark.parametrize(("wait", "count"), [(False, 2), (True, 0)])
def test_critical_problems_pass_quiet_hours_unless_they_are_to_wait(wait: bool, count: int) -> None:
    teller = Teller(Rules(quiet=NIGHT, quiet_critical=wait))
    night = at("2026-01-15 23:00")
    teller.looks(night, night + MINUTE, 5 * S, BANNED)
    teller.looks(night + MINUTE, night + 2 * MINUTE, 5 * S)
    assert len(teller.log) == count


def test_many_at_once_are_one_message_the_worst_first() -> None:
    teller = Teller(Rules(after_s=0, most=3))
    many = [problem(ProblemKind.MARKETS_STALE, f"m{number}", WARNING) for number in range(30)]
    lines = teller.look(0, *many, BANNED)
    assert (teller.sent, len(lines)) == (1, 31)
    assert lines[0] == "begun exchange_banned:binance"


def test_a_few_at_once_are_messages_of_their_own() -> None:
    teller = Teller(Rules(after_s=0, most=3))
    teller.look(0, BANNED, STALE, STORE_AWAY)
    assert teller.sent == 3


@pytest.mark.parametrize(
    ("room", "count", "sent"),
    [
        (3, 0, []),
        (1, 1, [(Reason.BEGUN, 1)]),
        (1, 2, [(Reason.DIGEST, 2)]),
        (3, 4, [(Reason.DIGEST, 4)]),
        (0, 4, []),
        (-1, 4, []),
    ],
)
def test_messages_keep_to_the_room_that_there_is(
    room: int, count: int, sent: Sequence[tuple[Reason, int]]
) -> None:
    rules = Rules(after_s=0)
    record = followed({}, [problem(subject=f"m{number}") for number in range(count)], rules, 0)
    found = messages(due(record, rules, 0), room)
    assert [(each.reason, len(each.sendings)) for each in found] == sent


def test_what_is_told_again_is_one_message_and_leaves_room_for_what_is_new() -> None:
    rules = Rules(after_s=0, again_s=60)
    old = [problem(subject=f"m{number}") for number in range(3)]
    record = followed({}, old, rules, 0)
    record = told(record, due(record, rules, 0), 0)
    found = messages(due(followed(record, old, rules, MINUTE), rules, MINUTE), rules.most)
    assert [(each.reason, len(each.sendings)) for each in found] == [(Reason.DIGEST, 3)]
    record = followed(record, [*old, BANNED], rules, MINUTE)
    found = messages(due(record, rules, MINUTE), rules.most)
    assert [len(each.sendings) for each in found] == [1, 3]
    assert found[0].sendings[0].id == BANNED.id


def test_what_ended_while_its_beginning_was_being_sent_is_told_to_have_ended() -> None:
    rules = Rules()
    record = followed({}, [BANNED], rules, 0)
    sendings = due(record, rules, 0)
    record = followed(record, [], rules, 5 * S)
    record = told(record, sendings, 6 * S)
    assert [each.reason for each in due(record, rules, MINUTE)] == [Reason.ENDED]


def test_what_came_back_while_its_end_was_being_sent_begins_anew() -> None:
    teller = Teller()
    teller.look(0, BANNED)
    record = followed(teller.record, [], teller.rules, 5 * S)
    sendings = due(record, teller.rules, MINUTE)
    record = followed(record, [BANNED], teller.rules, MINUTE + 1)
    record = told(record, sendings, MINUTE + 2)
    assert [each.reason for each in due(record, teller.rules, MINUTE + 3)] == [Reason.BEGUN]


def test_the_record_is_the_same_after_it_was_stored() -> None:
    teller = Teller()
    teller.look(1_000, BANNED, replace(STALE, since_ms=5))
    teller.look(6_000, BANNED)
    for known in teller.record.values():
        assert decode_known(encode_known(known).encode()) == known
    for damaged in (b"", b"{}", b"[1]", b"theirs", b'{"first_ms": "x"}'):
        assert decode_known(damaged) is None


def test_every_kind_that_status_finds_has_a_rule() -> None:
    assert set(KIND_RULES) == set(ProblemKind)
    assert all(0 <= rule.after_s <= 60 and 0 < rule.gone_s <= 180 for rule in KIND_RULES.values())
