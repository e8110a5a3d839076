"""The gate decides in the hot store, for all processes: breaker, pauses, budgets, permits."""

import asyncio

import pytest
from pydantic import SecretStr

from providers.account import Account
from providers.breaker import BreakerState
from providers.errors import ErrorClass, ProviderError
from providers.gate import DAY_MS, FIRST_PAUSE_MS, Gate, How, Kept, Outcome, Right, Skipped
from providers.resources import Limit
from stores.hot.store import HotStore
from tests.fixtures.upstash import OpenStore
from tests.providers.asking import SetClock, account, row
from timing.clock import SystemClock

ROW = row("one")
HERE = account(ROW)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def gate(store: HotStore, clock: SetClock) -> Gate:
    return Gate(store, fraction=1.0, clock=clock, chance=lambda: 0.5)


def _error(error_class: ErrorClass, until_ms: int | None = None) -> ProviderError:
    return ProviderError(error_class, "it failed", until_ms=until_ms)


async def _call(gate: Gate, error_class: ErrorClass | None = None, who: Account = HERE) -> str:
    right = await gate.admit(who)
    error = None if error_class is None else _error(error_class)
    return (await gate.settle(who, right, ms=10, error=error)).changed


async def _open(gate: Gate) -> None:
    told = [await _call(gate, ErrorClass.TRANSIENT) for _ in range(5)]
    assert told == ["", "", "", "", "opened"]


async def test_five_failures_in_a_row_open_the_breaker_for_everybody(
    gate: Gate, open_store: OpenStore, clock: SetClock
) -> None:
    await _open(gate)
    other = Gate(open_store(), fraction=1.0, clock=clock)
    with pytest.raises(Skipped) as skipped:
        await other.admit(HERE)
    assert skipped.value.reason == "out"
    assert skipped.value.until_ms == clock.now_ms + 60_000
    [member] = await other.look([HERE])
    assert (member.state, member.last_error) == (BreakerState.OPEN, "it failed")


async def test_half_of_the_calls_failing_opens_it(gate: Gate) -> None:
    outcomes = [None, ErrorClass.BAD_PAYLOAD, None, ErrorClass.TRANSIENT, None]
    assert [await _call(gate, each) for each in outcomes] == [""] * 5
    assert await _call(gate, ErrorClass.TRANSIENT) == "opened"


async def test_failures_of_a_minute_ago_are_forgotten(gate: Gate, clock: SetClock) -> None:
    for error in (ErrorClass.TRANSIENT, None, ErrorClass.TRANSIENT, None, ErrorClass.TRANSIENT):
        await _call(gate, error)
        clock.now_ms += 31_000
    [member] = await gate.look([HERE])
    assert member.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "error_class",
    [ErrorClass.UNKNOWN, ErrorClass.CALLER_FAULT],
)
async def test_what_is_not_its_fault_does_not_count(gate: Gate, error_class: ErrorClass) -> None:
    for _ in range(10):
        assert await _call(gate, error_class) == ""
    [member] = await gate.look([HERE])
    assert (member.state, member.score, member.out_until_ms) == (BreakerState.CLOSED, 100, 0)


async def test_half_open_lets_one_through_and_two_successes_close(
    gate: Gate, clock: SetClock
) -> None:
    await _open(gate)
    clock.now_ms += 60_001
    [member] = await gate.look([HERE])
    assert member.state is BreakerState.HALF_OPEN
    right = await gate.admit(HERE)
    assert right is Right.PERMIT
    with pytest.raises(Skipped):
        await gate.admit(HERE)
    assert (await gate.settle(HERE, right, ms=5)).changed == ""
    assert await _call(gate) == "closed"
    assert await gate.admit(HERE) is Right.OK


async def test_a_failure_while_half_open_doubles_the_time_up_to_15_minutes(
    gate: Gate, clock: SetClock
) -> None:
    await _open(gate)
    lengths = []
    for _ in range(6):
        [member] = await gate.look([HERE])
        lengths.append((member.open_until_ms - clock.now_ms) // 1000)
        clock.now_ms = member.open_until_ms
        assert await _call(gate, ErrorClass.TRANSIENT) == "opened"
    assert lengths == [60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 48), (0.999999, 71)])
async def test_openings_differ_by_a_fifth(
    store: HotStore, clock: SetClock, chance: float, seconds: int
) -> None:
    gate = Gate(store, fraction=1.0, clock=clock, chance=lambda: chance)
    await _open(gate)
    [member] = await gate.look([HERE])
    assert (member.open_until_ms - clock.now_ms) // 1000 == seconds


async def test_an_answer_that_was_under_way_when_it_opened_changes_nothing(gate: Gate) -> None:
    late = [await gate.admit(HERE) for _ in range(3)]
    await _open(gate)
    for right in late:
        assert (await gate.settle(HERE, right, ms=5)).changed == ""
    [member] = await gate.look([HERE])
    assert member.state is BreakerState.OPEN


async def test_a_probe_does_not_wait_for_the_end_but_for_the_last_probe(
    gate: Gate, clock: SetClock
) -> None:
    await _open(gate)
    right = await gate.admit(HERE, how="probe")
    assert right is Right.PERMIT
    await gate.settle(HERE, right, ms=5, error=_error(ErrorClass.TRANSIENT))
    with pytest.raises(Skipped):
        await gate.admit(HERE, how="probe")
    clock.now_ms += 46_000
    first = await gate.admit(HERE, how="probe")
    assert (await gate.settle(HERE, first, ms=5)).changed == ""
    second = await gate.admit(HERE, how="probe")  # at once after a success
    assert (await gate.settle(HERE, second, ms=5)).changed == "closed"


async def test_the_last_one_left_may_be_asked_while_it_is_open(gate: Gate, clock: SetClock) -> None:
    await _open(gate)
    [before] = await gate.look([HERE])
    clock.now_ms += 1000
    right = await gate.admit(HERE, how="forced")
    assert right is Right.FORCED
    await gate.settle(HERE, right, ms=5, error=_error(ErrorClass.TRANSIENT))
    [after] = await gate.look([HERE])
    assert after.opened_at_ms > before.opened_at_ms  # another one is the first now


async def test_a_limit_pauses_the_account_in_every_chain_and_grows(
    gate: Gate, clock: SetClock
) -> None:
    other_chain = account(row("one", "sentiment.asset"))
    lengths = []
    for _ in range(6):
        await _call(gate, ErrorClass.RATE_LIMITED)
        with pytest.raises(Skipped) as skipped:
            await gate.admit(other_chain)
        assert skipped.value.until_ms is not None
        lengths.append((skipped.value.until_ms - clock.now_ms) // FIRST_PAUSE_MS)
        clock.now_ms = skipped.value.until_ms
    assert lengths == [1, 2, 4, 8, 15, 15]
    await _call(gate)
    await _call(gate, ErrorClass.RATE_LIMITED)
    [member] = await gate.look([HERE])
    assert member.out_until_ms - clock.now_ms == FIRST_PAUSE_MS
    assert member.state is BreakerState.CLOSED  # a limit is no failure


async def test_a_provider_says_itself_how_long(gate: Gate, clock: SetClock) -> None:
    until_ms = clock.now_ms + 7_000
    right = await gate.admit(HERE)
    error = _error(ErrorClass.RATE_LIMITED, until_ms)
    assert (await gate.settle(HERE, right, ms=5, error=error)).until_ms == until_ms


async def _refused(gate: Gate, clock: SetClock, times: int) -> None:
    """Refused so often, each time as soon as it is asked again."""
    for _ in range(times):
        [member] = await gate.look([HERE])
        clock.now_ms = max(clock.now_ms, member.out_until_ms)
        await _call(gate, ErrorClass.RATE_LIMITED)


async def test_a_pause_that_is_a_guess_is_tried_once_a_minute_and_ends_with_an_answer(
    gate: Gate, clock: SetClock
) -> None:
    await _refused(gate, clock, 6)  # 15 minutes by now
    tried = []
    for second in range(0, 200, 5):
        clock.now_ms += 5_000
        try:
            right = await gate.admit(HERE, how="probe")
        except Skipped as skipped:
            assert skipped.reason == "out"
            continue
        assert right is Right.TRIAL
        tried.append(second + 5)
        error = _error(ErrorClass.RATE_LIMITED) if len(tried) < 3 else None
        await gate.settle(HERE, right, ms=1, error=error)
        if error is None:
            break
        with pytest.raises(Skipped):
            await gate.admit(HERE)
    assert tried == [60, 120, 180]
    assert await gate.admit(HERE) is Right.OK


@pytest.mark.parametrize("guessed_first", [True, False])
async def test_a_pause_that_a_provider_has_stated_is_not_tried(
    gate: Gate, clock: SetClock, guessed_first: bool
) -> None:
    until_ms = clock.now_ms + 90_000
    rights = [await gate.admit(HERE) for _ in range(2)]
    errors = [_error(ErrorClass.RATE_LIMITED), _error(ErrorClass.RATE_LIMITED, until_ms)]
    for right, error in zip(rights, errors if guessed_first else errors[::-1], strict=True):
        await gate.settle(HERE, right, ms=1, error=error)
    while clock.now_ms < until_ms:
        with pytest.raises(Skipped):
            await gate.admit(HERE, how="probe")
        clock.now_ms += 1_000
    # A refusal that has come since without a time is no more than a guess.
    assert await gate.admit(HERE, how="probe") in (Right.OK, Right.TRIAL)


async def test_a_statement_within_a_longer_guess_is_kept(gate: Gate, clock: SetClock) -> None:
    await _refused(gate, clock, 5)
    late = Right.OK  # of a call that was admitted before the pause
    stated = _error(ErrorClass.RATE_LIMITED, clock.now_ms + 300_000)
    await gate.settle(HERE, late, ms=1, error=stated)
    clock.now_ms += 299_000
    with pytest.raises(Skipped):
        await gate.admit(HERE, how="probe")
    clock.now_ms += 1_000
    assert await gate.admit(HERE, how="probe") is Right.TRIAL


async def test_an_answer_that_was_under_way_ends_no_pause(gate: Gate, clock: SetClock) -> None:
    late = await gate.admit(HERE)
    await _call(gate, ErrorClass.RATE_LIMITED)
    await gate.settle(HERE, late, ms=1)
    with pytest.raises(Skipped):
        await gate.admit(HERE)


async def test_a_trial_of_one_row_ends_the_pause_of_all(gate: Gate, clock: SetClock) -> None:
    other_chain = account(row("one", "sentiment.asset"))
    await _refused(gate, clock, 4)
    clock.now_ms += 60_000
    await gate.settle(other_chain, await gate.admit(other_chain, how="probe"), ms=1)
    assert await gate.admit(HERE) is Right.OK


async def test_a_probe_without_budget_is_no_probe(gate: Gate, clock: SetClock) -> None:
    await _open(gate)
    poor = account(row("one", "price.aggregate", Limit(1, 10)))
    await gate.settle(poor, await gate.admit(poor, how="probe"), ms=1)
    with pytest.raises(Skipped) as skipped:
        await gate.admit(poor, how="probe")
    assert skipped.value.reason == "no_budget"
    clock.now_ms += 11_000
    assert await gate.admit(poor, how="probe") is Right.PERMIT  # and not 45 s later


async def test_probes_leave_half_of_a_days_calls_to_questions(gate: Gate, clock: SetClock) -> None:
    await _open(gate)
    poor = account(row("one", "price.aggregate", Limit(10, 86_400)))
    probed = 0
    for _ in range(30):
        clock.now_ms += 46_000
        try:
            right = await gate.admit(poor, how="probe")
        except Skipped as skipped:
            assert skipped.reason == "no_budget"
            continue
        probed += 1
        await gate.settle(poor, right, ms=1, error=_error(ErrorClass.TRANSIENT))
    assert probed == 5
    assert (await gate.rooms([poor]))[0][86_400] == 5


async def test_a_demanded_probe_finds_out_at_once_and_lifts_what_it_disproves(
    gate: Gate, clock: SetClock
) -> None:
    await _call(gate, ErrorClass.GEO_BLOCKED)
    hows: tuple[How, ...] = ("", "probe", "forced")
    for how in hows:
        with pytest.raises(Skipped):
            await gate.admit(HERE, how=how)
    right = await gate.admit(HERE, how="demand")
    await gate.settle(HERE, right, ms=1, error=_error(ErrorClass.GEO_BLOCKED))
    with pytest.raises(Skipped):
        await gate.admit(HERE)
    await gate.settle(HERE, await gate.admit(HERE, how="demand"), ms=1)
    assert await gate.admit(HERE) is Right.OK


@pytest.mark.parametrize("error_class", [ErrorClass.RATE_LIMITED, ErrorClass.QUOTA_SPENT])
async def test_a_demanded_probe_keeps_limits(
    gate: Gate, clock: SetClock, error_class: ErrorClass
) -> None:
    await _call(gate, error_class)
    with pytest.raises(Skipped):
        await gate.admit(HERE, how="demand")


async def test_a_pause_is_as_long_as_was_said_whatever_time_a_host_believes_it_is(
    store: HotStore,
) -> None:
    """The store's clock counts; that of the process which was refused is an hour late."""

    class Late(SystemClock):
        def wall_ms(self) -> int:
            return super().wall_ms() - 3_600_000

    late, right = Late(), SystemClock()
    error = _error(ErrorClass.RATE_LIMITED, late.wall_ms() + 30_000)
    gate = Gate(store, fraction=1.0, clock=late)
    settled = await gate.settle(HERE, await gate.admit(HERE), ms=1, error=error)
    assert 25_000 < settled.until_ms - right.wall_ms() < 35_000
    with pytest.raises(Skipped, match="rate_limited"):
        await Gate(store, fraction=1.0, clock=right).admit(HERE)


async def test_a_host_that_is_ahead_of_midnight_frees_no_budget_of_the_day(store: HotStore) -> None:
    midnight_ms = 1_795_219_200_000  # 2026-11-21
    days = account(row("one", "price.aggregate", Limit(3, 86_400)))
    here = Gate(store, fraction=1.0, clock=SetClock(midnight_ms - 2_000))
    ahead = Gate(store, fraction=1.0, clock=SetClock(midnight_ms + 1_000))
    for _ in range(3):
        await here.admit(days)
    await ahead.admit(days)
    with pytest.raises(Skipped) as skipped:
        await here.admit(days)
    assert skipped.value.until_ms == midnight_ms
    [rooms] = await ahead.rooms([days])
    assert rooms == {86_400: 2}


async def test_another_address_is_not_paused_and_has_its_own_budget(gate: Gate) -> None:
    limited = row("one", "price.aggregate", Limit(1, 60))
    here, there = account(limited), account(limited, "there")
    await gate.admit(here)
    with pytest.raises(Skipped) as skipped:
        await gate.admit(here)
    assert skipped.value.reason == "no_budget"
    assert await gate.admit(there) is Right.OK


async def test_a_key_is_out_for_a_day_in_its_chain_and_another_key_is_tried_at_once(
    gate: Gate, clock: SetClock
) -> None:
    keyed = Account(ROW, "here", SecretStr("a-rejected-key"))
    await _call(gate, ErrorClass.KEY_REJECTED, keyed)
    with pytest.raises(Skipped) as skipped:
        await gate.admit(keyed)
    assert skipped.value.until_ms == clock.now_ms + DAY_MS
    assert await gate.admit(Account(ROW, "here", SecretStr("another-key"))) is Right.OK
    other_chain = Account(row("one", "news"), "here", SecretStr("a-rejected-key"))
    assert await gate.admit(other_chain) is Right.OK
    assert "rejected" not in keyed.member_key + keyed.account_key


async def test_a_spent_quota_is_out_until_midnight(gate: Gate, clock: SetClock) -> None:
    await _call(gate, ErrorClass.QUOTA_SPENT)
    [member] = await gate.look([HERE])
    assert member.out_class == "quota_spent"
    assert member.out_until_ms % DAY_MS == 0
    assert 0 < member.out_until_ms - clock.now_ms <= DAY_MS


async def test_no_window_of_a_limit_has_more_calls(gate: Gate, clock: SetClock) -> None:
    limited = account(row("one", "price.aggregate", Limit(10, 5), Limit(30, 86_400)))
    sent: list[int] = []
    for _ in range(400):
        try:
            await gate.admit(limited)
        except Skipped as skipped:
            assert skipped.reason == "no_budget"
            assert skipped.until_ms is not None and skipped.until_ms > clock.now_ms
        else:
            sent.append(clock.now_ms)
        clock.now_ms += 97
    assert len(sent) == 30
    assert all(later - earlier > 5000 for earlier, later in zip(sent, sent[10:], strict=False))
    assert (await gate.rooms([limited]))[0][86_400] == 0
    clock.now_ms += DAY_MS
    assert await gate.admit(limited) is Right.OK


async def test_many_at_once_stay_within_the_budget(gate: Gate) -> None:
    limited = account(row("one", "price.aggregate", Limit(7, 60)))
    outcomes = await asyncio.gather(
        *(gate.admit(limited) for _ in range(30)), return_exceptions=True
    )
    assert sum(each is Right.OK for each in outcomes) == 7


async def test_a_refused_budget_leaves_the_permit_to_others(gate: Gate, clock: SetClock) -> None:
    await _open(gate)
    clock.now_ms += 60_001
    poor = account(row("one", "price.aggregate", Limit(1, 60)))
    right = await gate.admit(poor)
    await gate.settle(poor, right, ms=5)
    with pytest.raises(Skipped) as skipped:
        await gate.admit(poor)
    assert skipped.value.reason == "no_budget"
    assert await gate.admit(HERE) is Right.PERMIT


async def test_what_it_does_not_know_is_remembered_for_an_hour(gate: Gate, clock: SetClock) -> None:
    await gate.remember(HERE, ["xyz"])
    [member] = await gate.look([HERE], ["btc", "xyz"])
    assert member.unknown == {"xyz"}
    clock.now_ms += 3_600_001
    [member] = await gate.look([HERE], ["btc", "xyz"])
    assert member.unknown == frozenset()


async def test_score_and_latency_follow_the_calls_and_fade(gate: Gate, clock: SetClock) -> None:
    for ms in (10, 20, 30, 400):
        await gate.settle(HERE, await gate.admit(HERE), ms=ms)
    for _ in range(2):
        await _call(gate, ErrorClass.TRANSIENT)
    [member] = await gate.look([HERE])
    assert (member.score, member.p70_ms, member.p95_ms) == (71, 30, 400)
    clock.now_ms += 3_600_000
    [later] = await gate.look([HERE])
    assert later.score == 100


async def test_switches_hold_for_all(gate: Gate) -> None:
    for on in (True, False, None):
        await gate.switch(ROW.id, on)
        [member] = await gate.look([HERE])
        assert member.switched is on


async def test_outcomes_are_told_with_what_is_kept_and_looked_up_with_who_may_be_asked(
    gate: Gate,
) -> None:
    other = account(row("two"))
    failed = Outcome(other, await gate.admit(other), 7, _error(ErrorClass.RATE_LIMITED))
    outcomes = [Outcome(HERE, await gate.admit(HERE), 5), failed]
    kept = [Kept("provider:answer:a", "é\n".encode(), 60_000), Kept("provider:answer:b", b"", 1)]
    good, limited = await gate.settle_all(outcomes, kept)
    assert (good.changed, good.until_ms) == ("", 0)
    assert limited.until_ms >= FIRST_PAUSE_MS
    keys = ["provider:answer:none", "provider:answer:a"]
    members, texts = await gate.look_and_read([other, HERE], ["btc"], keys)
    assert texts == [None, "é\n".encode()]
    assert [each.out_class for each in members] == ["rate_limited", ""]
    assert [each.p70_ms for each in members] == [None, 5]
    assert await gate.settle_all([], kept[:1]) == []


async def test_nobody_to_look_at_is_no_error(gate: Gate) -> None:
    """A paused account may have no other row that is probed."""
    assert await gate.look([]) == []
    assert await gate.look_and_read([], ("btc",), ()) == ([], [])
    assert await gate.look_and_read([], (), ("no-such-text",)) == ([], [None])
