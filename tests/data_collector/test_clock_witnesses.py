"""The rule of whom to believe about the time, against an independent statement of it."""

from itertools import combinations
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_collector.clock_witnesses import (
    LAST_AS_OF,
    MACHINE,
    ClocksDisagree,
    LastAsOf,
    Witness,
    check_not_older,
    judge,
)
from market.markets import Exchange

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
NOW = 1_795_185_441_250
S, H = 1000, 3_600_000
# Times around the limit of 10 s, on both sides, and far away.
NEAR = (0, 1, -1, 9 * S, 10 * S, 10 * S + 1, -10 * S, -10 * S - 1, 15 * S, -15 * S, 25 * S)
FAR = (3 * H, 3 * H + 5 * S, 3 * H - 8 * S, -3 * H, -3 * H + 9 * S, -3 * 365 * 24 * H)
OFFSETS = st.sampled_from((*NEAR, *FAR)) | st.integers(-20 * S, 20 * S)


def apart(one: int, other: int) -> bool:
    return abs(one - other) > 10_000


@given(OFFSETS, OFFSETS | st.none(), OFFSETS, OFFSETS | st.none(), st.booleans())
@example(0, -3 * H, 0, 0, False)
@example(3 * H, 3 * H, 0, 0, False)
@example(0, 0, 3 * H, 0, False)
def test_two_witnesses_that_agree_with_each_other_decide(
    binance: int, bybit: int | None, machine: int, last: int | None, at_least: bool
) -> None:
    """A clock is wrong iff two of the other three voices agree with each other and not with it.

    `last` may be a lower bound only: it agrees with everything that is not before it.
    """
    voices: dict[str, int] = {"binance": binance, "machine": machine}
    if bybit is not None:
        voices["bybit"] = bybit
    if last is not None:
        voices["last"] = last

    def differ(one: str, other: str) -> bool:
        if at_least and "last" in (one, other):
            later = voices[other if one == "last" else one]
            return later < voices["last"] - 10_000
        return apart(voices[one], voices[other])

    def wrong(exchange: str) -> bool:
        others = [name for name in voices if name != exchange]
        return any(
            differ(one, exchange) and differ(other, exchange) and not differ(one, other)
            for one, other in combinations(others, 2)
        )

    names = [name for name in ("binance", "bybit") if name in voices]
    witnesses = [Witness(MACHINE, NOW + machine)]
    if last is not None:
        witnesses.append(Witness(LAST_AS_OF, NOW + last, at_least=at_least))
    clocks = {Exchange(name): NOW + voices[name] for name in names}
    verdict = judge(clocks, witnesses)
    assert set(verdict.wrong) == {Exchange(name) for name in names if wrong(name)}
    assert verdict.believed == set(clocks) - set(verdict.wrong)
    warned = {
        name
        for name in names
        if not wrong(name)
        and any(
            differ(name, other)
            for other in voices
            if other != name and not (other in names and wrong(other))
        )
    }
    assert set(verdict.warnings) == {Exchange(name) for name in warned}
    alone = {
        name
        for name in names
        if not wrong(name) and all(differ(name, other) for other in voices if other != name)
    }
    assert verdict.supported == verdict.believed - {Exchange(name) for name in alone}


@pytest.mark.parametrize(
    ("binance", "bybit", "machine", "last", "believed"),
    [
        (0, 0, 0, 0, {BINANCE, BYBIT}),
        (0, -3 * H, 0, None, {BINANCE}),  # on the very first run too
        (0, -3 * H, 0, 0, {BINANCE}),
        (3 * H, 3 * H, 0, 0, set()),  # both ahead together: their candles still change
        (0, 0, 5 * H, 0, {BINANCE, BYBIT}),  # this machine alone is wrong
        (0, 0, 5 * H, None, {BINANCE, BYBIT}),
        (0, 0, 0, 9 * H, {BINANCE, BYBIT}),  # an as_of of an earlier fault
        (0, None, 0, 9 * H, {BINANCE}),
        (5 * H, None, 0, 0, set()),  # one exchange is configured, and wrong
        (5 * H, None, 0, None, {BINANCE}),  # one witness alone is against it
        (0, 3 * H, 5 * H, None, {BINANCE, BYBIT}),  # nobody agrees with anybody
    ],
)
def test_who_is_believed(
    binance: int, bybit: int | None, machine: int, last: int | None, believed: set[Exchange]
) -> None:
    clocks = {BINANCE: NOW + binance} | ({} if bybit is None else {BYBIT: NOW + bybit})
    witnesses = [Witness(MACHINE, NOW + machine)]
    witnesses += [] if last is None else [Witness(LAST_AS_OF, NOW + last)]
    assert judge(clocks, witnesses).believed == believed


def test_of_more_exchanges_two_that_are_wrong_alike_do_not_outvote_as_many() -> None:
    third = cast(Exchange, "third")
    witnesses = [Witness(MACHINE, NOW), Witness(LAST_AS_OF, NOW)]
    verdict = judge({BINANCE: NOW, BYBIT: NOW + 3 * H, third: NOW + 3 * H}, witnesses)
    assert verdict.believed == {BINANCE}


def test_the_reason_says_how_far_off_and_what_was_compared() -> None:
    clocks = {BINANCE: NOW, BYBIT: NOW - 3 * H}
    verdict = judge(clocks, [Witness(MACHINE, NOW), Witness(LAST_AS_OF, NOW + 2 * S)])
    assert verdict.wrong == {
        BYBIT: "bybit's clock is 10800 s behind binance's clock and this machine's clock,"
        " 10802 s behind the last as_of"
    }
    verdict = judge({BINANCE: NOW}, [Witness(MACHINE, NOW - 60 * S)])
    assert verdict.warnings == {BINANCE: "binance's clock is 60 s ahead of this machine's clock"}


# --- an as_of behind the stored document's -------------------------------------------------------


@pytest.mark.parametrize(
    ("clocks", "machine", "agrees"),
    [
        ({BINANCE: -3 * H, BYBIT: -3 * H}, 0, True),  # two exchanges
        ({BINANCE: -3 * H}, -3 * H + 9 * S, True),  # an exchange and this machine
        ({BINANCE: -3 * H}, 0, False),
        ({BINANCE: -3 * H, BYBIT: 0}, 0, False),
        ({BINANCE: -10 * S}, H, True),  # within 10 s nothing is asked
        ({BINANCE: -10 * S - 1}, H, False),
    ],
)
def test_an_older_document_needs_two_clocks(
    clocks: dict[Exchange, int], machine: int, agrees: bool
) -> None:
    times = {exchange: NOW + offset for exchange, offset in clocks.items()}
    verdict = judge(times, [])  # nothing speaks against them
    # The stored as_of is no witness for going back behind itself.
    witnesses = [
        Witness(MACHINE, NOW + machine), Witness(LAST_AS_OF, NOW - 9 * H, at_least=True)
    ]  # fmt: skip
    if agrees:
        check_not_older(verdict, times, witnesses, NOW)
        return
    with pytest.raises(ClocksDisagree, match="behind the stored document's as_of") as error:
        check_not_older(verdict, times, witnesses, NOW)
    assert "the stored document stays" in str(error.value)


@pytest.mark.parametrize("slow", [BINANCE, BYBIT])
def test_the_slowest_of_the_believed_clocks_is_what_may_not_be_older(slow: Exchange) -> None:
    times = {BINANCE: NOW, BYBIT: NOW} | {slow: NOW - 20 * S}
    with pytest.raises(ClocksDisagree, match=f"^{slow}'s clock"):
        check_not_older(judge(times, []), times, [], NOW - 5 * S)


# --- the last as_of ------------------------------------------------------------------------------


def test_the_last_as_of_advances_by_the_time_that_passed() -> None:
    passed = 100.0
    last = LastAsOf(lambda: passed)
    assert last.witness(None) is None
    last.believe(NOW)
    passed = 3700.0
    assert last.witness(NOW + 9 * H) == Witness(LAST_AS_OF, NOW + H)


def test_of_another_process_it_is_a_lower_bound() -> None:
    bound = LastAsOf(lambda: 0.0).witness(NOW)
    assert bound is not None
    for later, agrees in ((9 * H, True), (0, True), (-10 * S, True), (-10 * S - 1, False)):
        clock = Witness("", NOW + later)
        assert (bound.agrees(clock), clock.agrees(bound)) == (agrees, agrees)
    # Both exchanges fall back together, right after a start.
    verdict = judge({BINANCE: NOW - 3 * H, BYBIT: NOW - 3 * H}, [Witness(MACHINE, NOW), bound])
    assert verdict.believed == set()


def test_after_long_our_own_clock_may_have_drifted() -> None:
    passed = 0.0
    last = LastAsOf(lambda: passed)
    last.believe(NOW)
    passed = 24 * 3600.0
    assert last.witness(None) == Witness(LAST_AS_OF, NOW + 24 * H)
    passed = 24 * 3600.0 + 1
    assert last.witness(None) == Witness(LAST_AS_OF, NOW, at_least=True)
    # A machine that drifts and has no time service must not condemn the exchanges for ever.
    drifted = NOW + 24 * H
    verdict = judge(
        {BINANCE: drifted + 60 * S, BYBIT: drifted + 60 * S},
        [witness for witness in (Witness(MACHINE, drifted), last.witness(None)) if witness],
    )
    assert verdict.believed == {BINANCE, BYBIT}
