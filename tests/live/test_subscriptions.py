"""What a connection asks for, when, and what it makes of each answer."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from live.events import Refused, Subscribed
from live.subscriptions import Subscriptions
from tests.live.scripted_streams import venue


class Asked:
    """Subscriptions with an exchange that answers as `known` says; time passes by itself."""

    def __init__(self, *, unknown: Iterable[str] = (), **changes: Any) -> None:
        self.venue = venue(**changes)
        self.unknown = set(unknown)
        self.data: set[str] = set()
        self.now = 0.0
        self.sent: list[tuple[float, str, list[str]]] = []
        self.subscriptions = Subscriptions(self.venue, self.data.__contains__)

    def step(self) -> dict[str, Any] | None:
        """The next request, at the moment at which it is due; None if none is within a day."""
        while (due_s := self.subscriptions.due_s(self.now)) is not None and due_s < 86_400:
            self.now = max(self.now, due_s)
            self.subscriptions.expire(self.now)
            text = self.subscriptions.next_request(self.now)
            if text is not None:
                told: dict[str, Any] = json.loads(text)
                self.sent.append((self.now, told["do"], told["names"]))
                return told
        return None

    def is_settled(self) -> bool:
        return self.subscriptions.is_settled

    def answer(self, told: dict[str, Any]) -> None:
        if self.unknown & set(told["names"]):
            self.subscriptions.was_refused(Refused(str(told["id"]), "unknown"), self.now)
        else:
            self.subscriptions.acknowledged(Subscribed(str(told["id"])), self.now)

    def settle(self) -> list[list[str]]:
        """Answers until all is settled; the names of each request."""
        before = len(self.sent)
        while not self.subscriptions.is_settled:
            told = self.step()
            assert told is not None
            self.answer(told)
        return [names for _, _, names in self.sent[before:]]


def numbered(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def test_requests_name_the_difference_alone_in_batches() -> None:
    asked = Asked(names_a_request=4)
    asked.subscriptions.want(numbered(10))
    assert asked.settle() == [numbered(4), numbered(8)[4:], numbered(10)[8:]]
    assert set(asked.subscriptions.held) == set(numbered(10))
    asked.subscriptions.want([*numbered(10)[2:], "new"])
    assert [sorted(names) for names in asked.settle()] == [["n0", "n1"], ["new"]]
    assert [what for _, what, _ in asked.sent[-2:]] == ["unsubscribe", "subscribe"]
    assert asked.subscriptions.due_s(asked.now) is None


@pytest.mark.parametrize("limit", [60, 70, 100, 200])
def test_no_request_is_longer_than_the_exchange_takes(limit: int) -> None:
    asked = Asked(names_a_request=100, bytes_a_request=limit)
    names = [f"{'x' * (number % 9)}{number}" for number in range(30)]
    asked.subscriptions.want(names)
    requests = asked.settle()
    assert sorted(name for request in requests for name in request) == sorted(names)
    for number, request in enumerate(requests):
        assert len(asked.venue.subscribe(request, number)) <= limit


def test_requests_keep_the_pace_of_a_second_and_of_an_hour() -> None:
    asked = Asked(names_a_request=1, requests_a_second=2.0, requests_an_hour=10)
    asked.subscriptions.want(numbered(25))
    asked.settle()
    times = [at for at, _, _ in asked.sent]
    assert times[:10] == [number * 0.5 for number in range(10)]
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    assert all(times[number + 10] - times[number] >= 3600 for number in range(len(times) - 10))


def test_one_request_is_under_way_at_a_time() -> None:
    asked = Asked(names_a_request=1)
    asked.subscriptions.want(["a", "b"])
    first = asked.step()
    assert first is not None
    assert asked.subscriptions.next_request(asked.now + 1) is None
    asked.answer(first)
    asked.now += 1
    assert asked.subscriptions.next_request(asked.now) is not None


def test_a_refused_request_is_asked_again_in_halves() -> None:
    asked = Asked(names_a_request=8, unknown=["n5"])
    asked.subscriptions.want(numbered(8))
    assert asked.settle() == [
        numbered(8),
        numbered(4),
        ["n4", "n5", "n6", "n7"],
        ["n4", "n5"],
        ["n6", "n7"],
        ["n4"],
        ["n5"],
    ]
    assert set(asked.subscriptions.held) == set(numbered(8)) - {"n5"}
    assert asked.subscriptions.refused == {"n5": "unknown"}


def test_a_refused_name_is_asked_again_ever_more_seldom() -> None:
    asked = Asked(unknown=["bad"])
    asked.subscriptions.want(["bad"])
    while (told := asked.step()) is not None:
        asked.answer(told)
    pauses = [later[0] - earlier[0] for earlier, later in pairwise(asked.sent)]
    assert pauses[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    asked.unknown.clear()
    asked.now += 86_400
    told = json.loads(asked.subscriptions.next_request(asked.now) or "")
    asked.answer(told)
    assert set(asked.subscriptions.held) == {"bad"}
    assert asked.subscriptions.refused == {}


def test_data_outweigh_a_refusal() -> None:
    asked = Asked(unknown=["held already"])
    asked.data.add("held already")
    asked.subscriptions.want(["held already"])
    asked.settle()
    assert set(asked.subscriptions.held) == {"held already"}
    late = Asked(unknown=["a"])
    late.subscriptions.want(["a"])
    late.settle()
    assert late.subscriptions.refused
    late.subscriptions.proven("a")
    assert (set(late.subscriptions.held), late.subscriptions.refused) == ({"a"}, {})


def test_an_answer_for_each_name() -> None:
    asked = Asked(names_a_request=3, answers_each_name=True, fails_whole=False)
    asked.subscriptions.want(["a", "b", "c"])
    told = asked.step()
    assert told is not None
    number = str(told["id"])
    asked.subscriptions.acknowledged(Subscribed(number, ["b"]), asked.now)
    assert not asked.is_settled()
    asked.subscriptions.was_refused(Refused(number, "not listed"), asked.now)  # does not say which
    assert asked.subscriptions.refused == {}
    asked.subscriptions.acknowledged(Subscribed(number, ["a"]), asked.now)
    assert asked.is_settled()
    assert asked.subscriptions.refused == {"c": "not listed"}
    assert set(asked.subscriptions.held) == {"a", "b"}


def test_a_refusal_that_tells_the_name_concerns_that_one_alone() -> None:
    asked = Asked(names_a_request=3, answers_each_name=True, fails_whole=False)
    asked.subscriptions.want(["a", "b", "c"])
    told = asked.step()
    assert told is not None
    asked.subscriptions.was_refused(Refused(str(told["id"]), "no", ["b"]), asked.now)
    for name in "ac":
        asked.subscriptions.acknowledged(Subscribed(str(told["id"]), [name]), asked.now)
    assert asked.subscriptions.refused == {"b": "no"}
    assert len(asked.sent) == 1


def test_answers_of_others_are_ignored() -> None:
    asked = Asked()
    asked.subscriptions.want(["a"])
    told = asked.step()
    assert told is not None
    asked.subscriptions.acknowledged(Subscribed("99"), asked.now)
    asked.subscriptions.was_refused(Refused("98", "late"), asked.now)
    assert not asked.is_settled()
    asked.subscriptions.acknowledged(Subscribed(""), asked.now)  # an answer without a number
    assert asked.is_settled()


def test_a_lost_answer_is_asked_for_again_unless_data_come() -> None:
    asked = Asked(names_a_request=2)
    asked.subscriptions.want(["a", "b"])
    asked.step()
    asked.data.add("a")
    again = asked.step()
    assert again is not None and again["names"] == ["b"]
    assert asked.now == 5.0
    asked.answer(again)
    assert asked.is_settled() and not asked.subscriptions.has_given_up


def test_three_lost_answers_in_a_row_are_enough() -> None:
    asked = Asked()
    asked.subscriptions.want(["a"])
    for _ in range(3):
        assert not asked.subscriptions.has_given_up
        asked.step()
        asked.now += 5
        asked.subscriptions.expire(asked.now)
    assert asked.subscriptions.has_given_up


def test_a_name_that_is_wanted_no_more_when_its_answer_comes() -> None:
    asked = Asked()
    asked.subscriptions.want(["a"])
    told = asked.step()
    assert told is not None
    asked.subscriptions.want([])
    asked.answer(told)
    assert asked.settle() == [["a"]]
    assert asked.sent[-1][1] == "unsubscribe"
    assert not asked.subscriptions.held


def test_subscribed_anew() -> None:
    asked = Asked()
    asked.subscriptions.want(["a", "b"])
    asked.settle()
    asked.subscriptions.subscribe_anew("a")
    asked.subscriptions.subscribe_anew("not held")
    asked.settle()
    assert [(what, names) for _, what, names in asked.sent[1:]] == [
        ("unsubscribe", ["a"]),
        ("subscribe", ["a"]),
    ]


def test_where_a_name_fails_the_others_they_are_asked_for_again_without_it() -> None:
    """`error:handler not found,topic:X` of Bybit, whose batch stays silent as a whole."""
    asked = Asked(names_a_request=4)
    asked.subscriptions.want(numbered(4))
    told = asked.step()
    assert told is not None
    asked.subscriptions.was_refused(Refused(str(told["id"]), "not found", ["n2"]), asked.now)
    assert not asked.subscriptions.held
    assert asked.settle() == [["n0", "n1", "n3"]]
    assert asked.subscriptions.refused == {"n2": "not found"}


def test_a_name_that_is_held_already_is_no_refusal() -> None:
    """`error:already subscribed,topic:X` of Bybit; the rest of the batch is silent."""
    asked = Asked(names_a_request=4)
    asked.subscriptions.want(numbered(3))
    told = asked.step()
    assert told is not None
    answer = Refused(str(told["id"]), "already subscribed", ["n1"], is_held=True)
    asked.subscriptions.was_refused(answer, asked.now)
    assert set(asked.subscriptions.held) == {"n1"}
    assert asked.settle() == [["n0", "n2"]]
    assert asked.subscriptions.refused == {}


def test_an_unsubscription_that_fails_whole_is_asked_again() -> None:
    asked = Asked(names_a_request=4)
    asked.subscriptions.want(numbered(3))
    asked.settle()
    asked.subscriptions.want([])
    told = asked.step()
    assert told is not None and told["do"] == "unsubscribe"
    asked.subscriptions.was_refused(Refused(str(told["id"]), "not there", ["n1"]), asked.now)
    assert [sorted(names) for names in asked.settle()] == [["n0", "n2"]]
    assert not asked.subscriptions.held
