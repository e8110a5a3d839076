"""Output: what takes the data points of a process's collectors and sends them somewhere else."""

from typing import Any, Protocol

from live.data_types import MarketDataPoint


class Output(Protocol):
    """One of each kind in a process, shared by all its collectors."""

    def take(self, point: MarketDataPoint) -> None:
        """Queues the point; may be called from any thread. Never waits, never raises: of a full
        queue the oldest are dropped and counted, and a point that cannot be sent counts as an
        error."""

    async def run(self) -> None:
        """Sends what is taken, in batches, until it is cancelled; then the last batch, within a
        second. What a store does not take meanwhile waits in the queue."""

    def status(self) -> dict[str, Any]:
        """`queued`: points that wait; since the start, `sent`, `dropped` because the queue was
        full and `errors`, points that were refused; `last_error`: text or None."""
