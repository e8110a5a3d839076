"""The health of a collector: three clocks, and the judgement of what they show."""

from dataclasses import dataclass
from typing import Final

from live.data_types import CollectorStatus

# Data that has flowed for so long prove a connection: the next loss begins with short pauses.
PROVEN_S: Final = 60.0


@dataclass(slots=True)
class Clocks:
    """When a collector last showed a sign of life, on the monotonic clock; None: never.

    `loop`: its message loop came round. `inbound`: bytes arrived, where the collector tells it; a
    loop that waits in `receive` does not come round, though all is well. `data`: a data point was
    read. Only data prove a stream: pongs arrive on silent ones, too.
    """

    connected: float | None = None
    loop: float | None = None
    inbound: float | None = None
    data: float | None = None

    def heartbeat(self) -> float | None:
        """The last sign of life of any kind."""
        signs = [at for at in (self.loop, self.inbound, self.data) if at is not None]
        return max(signs, default=None)

    def silent_s(self, now: float) -> float:
        """Since the last data, or since the connection was made; 0 without a connection."""
        if self.connected is None:
            return 0.0
        return now - max(self.connected, self.data or self.connected)

    def proven(self) -> bool:
        """Whether data have flowed for long enough on this connection."""
        if self.connected is None or self.data is None:
            return False
        return self.data - self.connected >= PROVEN_S


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judgement of a collector's health is made from."""

    status: CollectorStatus
    should_be_running: bool
    is_running: bool
    clocks: Clocks
    now: float
    max_silence_s: float
    attempts: int
    max_attempts: int
    last_error: str | None


def issues_of(judged: Judged) -> list[str]:
    """What is wrong with a collector, in words; empty if nothing is.

    A collector that was told to stop has no issues; neither has one that is starting.
    """
    if not judged.should_be_running:
        return []
    issues = []
    if not judged.is_running and judged.status is not CollectorStatus.STARTING:
        why = f": {judged.last_error}" if judged.last_error else ""
        issues.append(f"should be running but is {judged.status}{why}")
    if judged.is_running and judged.clocks.silent_s(judged.now) > judged.max_silence_s:
        issues.append(
            f"no data for {judged.clocks.silent_s(judged.now):.0f} s,"
            f" the limit is {judged.max_silence_s:g} s"
        )
        beat = judged.clocks.heartbeat()
        if beat is None or judged.now - beat > judged.max_silence_s:
            issues.append("no heartbeat: the message loop does not come round")
    if judged.attempts > judged.max_attempts:
        issues.append(
            f"{judged.attempts} attempts to reconnect, more than {judged.max_attempts};"
            " it goes on at the slowest pace"
        )
    return issues
