"""What the end of a call means for the node that was asked, and how it is told."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from providers.errors import ErrorClass, ProviderError, Tried
from providers.gate import Skipped
from providers.rpc.balancer import Node, RPCLoadBalancer
from providers.rpc.racing import ended, outcome
from timing.clock import Clock

_FAILURES: Final = (ErrorClass.TRANSIENT, ErrorClass.BAD_PAYLOAD)
# What does not have what was asked for may have the next; a wrong call is nobody's fault here.
_NEUTRAL: Final = (ErrorClass.UNKNOWN, ErrorClass.CALLER_FAULT)
_AWHILE_S: Final = 5.0  # until the gate is asked again
LONGEST_BARRED_S: Final = 10.0  # for a probe may bring it back before the time that was told


def judged(
    balancer: RPCLoadBalancer, node: Node, error: ProviderError | Skipped, clock: Clock
) -> Tried:
    resource = node.resource
    level = resource.level.name.lower()
    if isinstance(error, Skipped):
        left_s = ((error.until_ms or 0) - clock.wall_ms()) / 1000
        balancer.bar(resource.id, min(left_s, LONGEST_BARRED_S) if left_s > 0 else _AWHILE_S)
        return Tried(resource.id, level, None, error.reason, str(error))
    if error.error_class in _FAILURES:
        balancer.told(resource.id, False)
    elif error.error_class not in _NEUTRAL:
        balancer.bar(resource.id, _AWHILE_S)
    return Tried(resource.id, level, error.error_class, None, str(error), 1)


class Overtaken:
    """Calls that go on after another node has answered: how they end is told to the balancer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()

    def keep(self, balancer: RPCLoadBalancer) -> Callable[[str, "asyncio.Task[Any]"], None]:
        def left(node_id: str, task: "asyncio.Task[Any]") -> None:
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._judge(balancer, node_id, done))

        return left

    async def aclose(self) -> None:
        await ended(self._tasks)

    def _judge(self, balancer: RPCLoadBalancer, node_id: str, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        how = outcome(task)
        if isinstance(how, ProviderError | Skipped):
            judged(balancer, balancer.node(node_id), how, self._clock)
