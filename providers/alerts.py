"""Alerts of this process: the same of one resource once in a while, however often it is asked."""

from typing import Final

import structlog

from providers.attempts import Alert, OnAlert
from timing.clock import Clock

AGAIN_S: Final = 900.0  # between two alerts of one kind about one resource

log = structlog.get_logger(__name__)


class Alerts:
    """One per process. `on_alert`: who is told, beside the log."""

    def __init__(self, clock: Clock, on_alert: OnAlert | None = None) -> None:
        self._clock = clock
        self._on_alert = on_alert
        self._told: dict[tuple[str, str], float] = {}  # with when

    def tell(self, alert: Alert) -> None:
        if alert.resource is not None:
            now_s, what = self._clock.monotonic_s(), (alert.kind, alert.resource)
            if now_s - self._told.get(what, -AGAIN_S) < AGAIN_S:
                return
            self._told[what] = now_s
        log.warning(
            f"provider_{alert.kind}",
            chain=alert.chain,
            resource=alert.resource,
            message=alert.message,
        )
        if self._on_alert is not None:
            self._on_alert(alert)
