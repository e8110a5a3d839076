"""What a call that failed means for the node, and how it is told."""

from typing import Final

from providers.errors import ErrorClass, ProviderError, Tried
from providers.gate import Skipped
from providers.rpc.balancer import Node, RPCLoadBalancer
from timing.clock import Clock

_FAILURES: Final = (ErrorClass.TRANSIENT, ErrorClass.BAD_PAYLOAD)
# What does not have what was asked for may have the next; a wrong call is nobody's fault here.
_NEUTRAL: Final = (ErrorClass.UNKNOWN, ErrorClass.CALLER_FAULT)
_AWHILE_S: Final = 5.0  # until the gate is asked again
_LONGEST_S: Final = 86_400.0


def judged(
    balancer: RPCLoadBalancer, node: Node, error: ProviderError | Skipped, clock: Clock
) -> Tried:
    resource = node.resource
    level = resource.level.name.lower()
    if isinstance(error, Skipped):
        left_s = ((error.until_ms or 0) - clock.wall_ms()) / 1000
        balancer.bar(resource.id, min(left_s, _LONGEST_S) if left_s > 0 else _AWHILE_S)
        return Tried(resource.id, level, None, error.reason, str(error))
    if error.error_class in _FAILURES:
        balancer.told(resource.id, False)
    elif error.error_class not in _NEUTRAL:
        balancer.bar(resource.id, _AWHILE_S)
    return Tried(resource.id, level, error.error_class, None, str(error))
