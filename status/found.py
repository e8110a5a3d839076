"""Found: all that was found out about the service at one look; problems are judged by it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from database import RecordFigures, ScheduleRow
from live.configured.actual import CollectorState
from status.collectors import Wanted
from status.disk import DiskRoom
from status.parts_state import DatabaseFound
from status.snapshot import Snapshot

if TYPE_CHECKING:
    from providers.alert_log import NotedAlert
    from providers.standing import ChainStanding


@dataclass(frozen=True, slots=True)
class Found:
    """`snapshot`: of the hot store. Of the database: `database`, `wanted` (of collectors),
    `schedules`, `cursors` (of each document the newest recorded version and its `updated_at`) and
    `record`; None while it is away, or `record` not known yet. `last_schedules`: as it told them
    last, None before that. Of the hot store's second command:
    `collectors`, `chains` and `alerts` of providers; None while it is away, or where this process
    asks no providers."""

    snapshot: Snapshot
    database: DatabaseFound
    wanted: Wanted | None = None
    schedules: Sequence[ScheduleRow] | None = None
    last_schedules: Sequence[ScheduleRow] | None = None
    cursors: Mapping[str, tuple[int, int]] | None = None
    record: RecordFigures | None = None
    collectors: Mapping[str, CollectorState] = field(default_factory=dict)
    chains: "Sequence[ChainStanding] | None" = None
    alerts: "Sequence[NotedAlert] | None" = None
    disk: DiskRoom | None = None
