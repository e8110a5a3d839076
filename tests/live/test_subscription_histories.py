"""Random histories of wishes and answers: in the end the exchange has what is wanted."""

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from live.events import Refused, Subscribed
from live.subscriptions import Subscriptions
from tests.live.scripted_streams import venue

NAMES = [f"n{number}" for number in range(12)]
UNKNOWN = {"n3", "n7"}  # to the exchange
names = st.sets(st.sampled_from(NAMES)).map(sorted)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), names),
        st.tuples(st.just("anew"), st.sampled_from(NAMES)),
        st.tuples(st.just("answer"), st.sampled_from(["right", "lost", "nothing"])),
    ),
    max_size=40,
)


@dataclass
class Exchange:
    """What an exchange does with requests; a bad name fails the whole one, as on Bybit, or that
    name alone, as on OKX."""

    subscriptions: Subscriptions
    fails_whole: bool
    tells_names: bool
    held: set[str] = field(default_factory=set)
    asked: dict[str, object] = field(default_factory=dict)
    now: float = 0.0
    lost: int = 0  # answers or requests that were lost

    def ask(self) -> bool:
        """The next request within ten minutes, if there is one."""
        due_s = self.subscriptions.due_s(self.now)
        if due_s is None or due_s > self.now + 600:
            return False
        self.now = max(self.now, due_s)
        self.subscriptions.expire(self.now)
        text = self.subscriptions.next_request(self.now)
        if text is not None:
            self.asked = json.loads(text)
            assert len(self.asked["names"]) <= 5  # type: ignore[arg-type]
        return True

    def answer(self, how: str) -> None:
        """Carries the request out, unless `nothing` arrives; a `lost` answer tells nobody."""
        told, self.asked = self.asked, {}
        if not told:
            return
        if how == "nothing":
            self.lost += 1
            return
        wanted, number = set(told["names"]), str(told["id"])  # type: ignore[call-overload]
        if told["do"] == "unsubscribe":
            self.held -= wanted
            self._say(how, Subscribed(number))
            return
        held = wanted & self.held
        # Without losses a request names nothing that the exchange has.
        assert not held or self.lost, held
        bad = sorted(wanted & UNKNOWN) or sorted(held if self.fails_whole else ())
        if not bad:
            self.held |= wanted
            self._say(how, Subscribed(number))
        elif self.fails_whole:
            told_names = bad[:1] if self.tells_names else []
            self._say(how, Refused(number, "bad", told_names, bad[0] not in UNKNOWN))
        else:
            self.held |= wanted - UNKNOWN
            for name in wanted - UNKNOWN:
                self._say(how, Subscribed(number, [name]))
            for name in bad:
                self._say(how, Refused(number, "bad", [name] if self.tells_names else []))

    def _say(self, how: str, answer: Subscribed | Refused) -> None:
        if how == "lost":
            self.lost += 1
        elif isinstance(answer, Subscribed):
            self.subscriptions.acknowledged(answer, self.now)
        else:
            self.subscriptions.was_refused(answer, self.now)


@given(steps, st.booleans(), st.booleans())
def test_the_exchange_ends_with_what_is_wanted(
    history: list[tuple[str, object]], fails_whole: bool, tells_names: bool
) -> None:
    of = venue(names_a_request=5, fails_whole=fails_whole, answers_each_name=not fails_whole)
    subscriptions = Subscriptions(of, lambda name: name in exchange.held)
    exchange = Exchange(subscriptions, fails_whole, tells_names)
    wanted: set[str] = set()
    for what, value in history:
        if what == "want":
            wanted = set(value)  # type: ignore[call-overload]
            subscriptions.want(sorted(wanted))
        elif what == "anew":
            subscriptions.subscribe_anew(str(value))
        else:
            exchange.ask()
            exchange.answer(str(value))
    for _ in range(200):
        exchange.answer("right")
        if subscriptions.is_settled and set(subscriptions.refused) == wanted & UNKNOWN:
            break
        assert exchange.ask()
    assert exchange.held == wanted - UNKNOWN
    assert set(subscriptions.held) == exchange.held
    assert subscriptions.is_settled
