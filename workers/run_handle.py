"""RunHandle: one attempt of a run as its function sees it, and whether it still may write."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from stores.cold.pool import Connection


class RunLost(Exception):
    """The run was aborted, or another attempt has replaced this one: stop, and write nothing."""


@dataclass(frozen=True, slots=True)
class RunHandle:
    """An attempt of a run. `slot_ms`: the instant that it stands for, UTC ms; `attempt` counts from
    1; `input` is what a part of other work is given.

    `lost` is set when the claim is known to be gone. `check` raises RunLost on a connection whose
    transaction then may not commit; it locks the run's row until the transaction ends, so that what
    is written in it is written while the run is ours. `still_ours` asks the same without one, and
    raises RunLost or DatabaseUnavailable.
    """

    run_id: int
    worker: str
    slot_ms: int
    why: str
    attempt: int
    claim: UUID
    host: str
    check: Callable[[Connection], Awaitable[None]]
    still_ours: Callable[[], Awaitable[None]]
    input: Mapping[str, Any] | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)
