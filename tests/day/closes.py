"""The closes of a day: what is drawn before each, the pass, and what must be there then."""

import asyncio
import time
from typing import Any, Final

from chaos.checks import INTERVALS_MS
from tests.day.day import CLOSE_MS, Day
from tests.day.events import draw_event, relaunch
from tests.day.faults import draw_fault

_FAULTY: Final = 0.25  # of the closes at which nothing is broken
_EVENTFUL: Final = 0.3
_RARER: Final = 0.4  # where streams are followed, which have faults of their own
_MIDWAY: Final = 0.05
_DISCOVERED_EVERY: Final = 12
_DAY_MS: Final = 86_400_000


async def run_day(day: Day, closes: int, *, quiet: int = 1) -> None:
    """Begins with first collections; the first `quiet` closes are without faults."""
    await day.start()
    if day.soak is not None:
        await day.soak.start()
    day.look()
    await discover(day)
    await day.job("funding")
    if day.chance.random() < 0.5:  # an installation of a release without bases
        for name in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"):
            await day.job(f"collect:{name}")
    else:
        await day.job("collect:all")
    first_ms = day.clock.now_ms - day.clock.now_ms % CLOSE_MS + CLOSE_MS
    day.close_ms = first_ms
    day.disturb(2)
    await _between(day)
    for number in range(closes):
        day.close_ms = first_ms + number * CLOSE_MS
        if day.close_ms + CLOSE_MS <= day.clock.now_ms:
            day.report.say(f"{_clock(day.close_ms)}: missed, as the jobs before took longer")
            continue
        await _close(day, drawn=number >= quiet)
        await _between(day)
    broken = day.exchanges.stats()["limits_broken"]
    if broken:
        day.report.violate(f"limits broken: {broken}")


async def discover(day: Day) -> None:
    """Reads the lists of markets; what was listed must be collected then, if nothing was wrong."""
    faults = day.active()
    record = await day.job("discovery")
    if record.state != "complete" and not faults and not day.database_back_ms:
        day.report.violate(f"discovery {record.state}: {record.error}")
    if record.state == "complete":
        day.look()
        # Those of an exchange in trouble may not be known yet.
        if all(fault.symbol is not None for fault in faults):
            day.required = set(day.collected)
            day.faults = [each for each in day.faults if each[0].kind != "delisted"]
    day.discover_in = _DISCOVERED_EVERY


async def _close(day: Day, *, drawn: bool) -> None:
    close_ms = day.close_ms
    await day.clock.pass_to(close_ms - 120_000)
    day.end_faults()
    if day.database_back_ms and day.database_back_ms <= close_ms:
        day.database_back_ms = 0
        await day.start()
        day.report.say("    the database is back")
    if drawn:
        await _draw(day)
    if day.soak is not None:
        await day.soak.before_close()
    await day.clock.pass_to(close_ms + day.chance.randint(300, 4_000))
    if drawn and close_ms % _DAY_MS == 0 and not day.active() and not day.database_back_ms:
        await relaunch(day)
    if day.discover_in <= 0:
        await discover(day)
    day.discover_in -= 1
    await _pass(day)


async def _draw(day: Day) -> None:
    """What happens before a close, if anything does."""
    chance, share = day.chance, 1 if day.soak is None else _RARER
    if not any(fault.kind.startswith("away") for fault in day.active()):
        if chance.random() < _FAULTY * share:
            fault = draw_fault(chance, sorted(day.required))
            if day.soak is None or day.soak.allows(fault):
                day.inflict(fault)
        if chance.random() < _EVENTFUL * share:
            await draw_event(day)
    if chance.random() < _MIDWAY and not day.active():
        await _close_midway(day)


async def _pass(day: Day) -> None:
    """The pass of a close, and what it came to."""
    disturbed = bool(day.active()) or day.disturbed_ms > day.close_ms
    before, asked_ms, began_s = _requests(day), day.clock.now_ms, time.monotonic()
    record = await day.job("collect:all")
    result = record.result or {}
    if day.soak is not None:
        await day.soak.after_pass(result, disturbed=disturbed)
    late_s = (day.clock.now_ms - asked_ms + result.get("duration_ms", 0)) / 1000
    asked = _requests(day)
    klines, interest = (
        sum(asked.get(n, 0) - before.get(n, 0) for n in names)
        for names in (("klines", "history_klines"), ("open_interest",))
    )
    failed = f" {record.state}: {record.error}" if record.state != "complete" else ""
    day.report.say(
        f"{_clock(day.close_ms)}: late {late_s:.1f} s, klines {klines}, open interest {interest},"
        f" audits {result.get('audit_requests', 0)}, {','.join(result.get('documents', ()))}"
        f"{failed} ({time.monotonic() - began_s:.1f} s)"
    )
    if failed:
        if not disturbed:
            day.report.violate(f"collect:all{failed}")
        return
    for name in day.settings.timeframes:
        closed_ms = day.close_ms - day.close_ms % INTERVALS_MS[name]
        if day.versions.get(name, (0, 0))[1] < closed_ms:
            day.report.violate(f"{name} is as of {day.versions.get(name)}, before {closed_ms}")
        lacks = [
            lack
            for lack in day.failed.get(name, ())
            if day.is_collected(lack) and not day.comparison.is_odd(lack)
        ]
        if lacks and not day.active():
            day.report.violate(f"{name} still lacks {lacks[:2]}")
    if disturbed:
        # A pass that waited for the limits leaves less of them to the next ones.
        if day.active() or late_s > day.most_late_s:
            day.disturb()
        return
    day.report.late_s.append(late_s)
    if late_s > day.most_late_s:
        day.report.violate(f"{late_s:.1f} s late without a fault")
    requests = klines + interest - result.get("audit_requests", 0)
    day.report.requests.append(requests / max(1, len(day.required)))


async def _close_midway(day: Day) -> None:
    """A pass that begins before the close and ends after it."""
    if day.soak is not None:
        day.soak.closes_within_a_pass()
    await day.clock.pass_to(day.close_ms - 1_500)
    rule = {"kind": "hold", "endpoint": "klines", "count": 1}
    (held,) = day.exchanges.post("/sim/faults", [rule])
    pass_over = asyncio.create_task(day.job("collect:all"))
    found = await asyncio.to_thread(day.exchanges.get, "/sim/held?count=1&deadline_s=20")
    await day.clock.pass_to(day.close_ms + 200)
    day.exchanges.full("DELETE", f"/sim/faults?number={held['number']}")
    record = await pass_over
    day.report.say(f"    the close came within a pass ({found['held']} held): {record.state}")


async def _between(day: Day) -> None:
    """Runs what was queued, until the next close."""
    next_ms = day.close_ms + CLOSE_MS
    for job_id in ("funding", "discovery"):
        if await day.is_queued(job_id):
            await (discover(day) if job_id == "discovery" else day.job(job_id))
    if await day.is_queued("fill"):
        day.clock.set_alarm(next_ms, lambda: day.context.queue.request("collect:all"))
        record: Any = await day.job("fill")
        day.clock.alarm_off()
        day.report.say(f"    fill: {record.state} {record.result or record.error}")
    if day.chance.random() < 0.05:
        await day.clock.pass_to(day.clock.now_ms + day.chance.choice((1_000, 30_000, 70_000)))
        job_id = f"collect:{day.chance.choice(('5m', '1h', '4h', '1d'))}"
        record = await day.job(job_id)
        day.report.say(f"    {job_id}: {record.state} {record.error or ''}")


def _requests(day: Day) -> dict[str, int]:
    """How many requests reached the exchanges so far, by endpoint."""
    found: dict[str, int] = {}
    for endpoints in day.exchanges.stats()["requests"].values():
        for endpoint, statuses in endpoints.items():
            found[endpoint] = found.get(endpoint, 0) + sum(statuses.values())
    return found


def _clock(moment_ms: int) -> str:
    minutes = moment_ms % _DAY_MS // 60_000
    return f"{minutes // 60:02}:{minutes % 60:02}"
