"""What errors of explorers mean that come with status 200: the Etherscan envelope, and Tron's."""

import re
from typing import Any, Final

from providers.errors import ErrorClass
from providers.exact import shown
from providers.rpc_errors import rpc_fault
from providers.wording import TROUBLE, refusal_in
from texts.foreign import foreign_text

Fault = tuple[ErrorClass, str]
# Status "0", and an answer all the same: there are none.
_EMPTY: Final = re.compile(r"no .{0,40}(?:transactions|transfers|records|found)", re.IGNORECASE)
# Of the result (or the message) of what was refused; the first that matches counts.
_REFUSALS: Final = (
    (r"max\w* daily", ErrorClass.QUOTA_SPENT),
    (r"max (?:calls|rate)|rate limit|too many|temporarily unavailable", ErrorClass.RATE_LIMITED),
    (r"invalid api key|missing.*api key|api key", ErrorClass.KEY_REJECTED),
    (r"not supported for this chain|upgrade|api pro|plan", ErrorClass.PLAN_FORBIDS),
    (r"invalid (?:\w+ )?address|invalid argument", ErrorClass.CALLER_FAULT),
    (r"timeout|timed out|try again|unexpected error|server too busy", ErrorClass.TRANSIENT),
)
_TRON: Final = (
    (r"frequency limit|exceeds? the|suspended for", ErrorClass.RATE_LIMITED),
    (r"invalid address|INVALID hex", ErrorClass.CALLER_FAULT),
    (r"api ?key|unauthori[sz]ed", ErrorClass.KEY_REJECTED),
    (r"timeout|timed out|unavailable", ErrorClass.TRANSIENT),
)


def etherscan_fault(document: Any) -> Fault | None:
    """None for an answer, also for one that says that there is nothing. Proxied calls have no
    status: they are JSON-RPC."""
    if not isinstance(document, dict):
        return ErrorClass.BAD_PAYLOAD, f"{shown(document)} is no envelope"
    if "status" not in document:
        return rpc_fault(document) or (
            None if "result" in document else (ErrorClass.BAD_PAYLOAD, "the envelope has no status")
        )
    message, result = document.get("message"), document.get("result")
    if str(document["status"]) == "1":
        return None
    if result == [] and isinstance(message, str) and _EMPTY.match(message):
        return None
    return _fault(_REFUSALS, result if isinstance(result, str) and result else message)


def tron_fault(document: Any) -> Fault | None:
    """{"Error":"class ...: message"} and {"success":false,"error":"..."}."""
    if not isinstance(document, dict):
        return ErrorClass.BAD_PAYLOAD, f"{shown(document)} is no account"
    error = document.get("Error") or document.get("error")
    return _fault(_TRON, error) if error else None


def _fault(table: tuple[tuple[str, ErrorClass], ...], said: Any) -> Fault:
    text = foreign_text(said) if isinstance(said, str) else shown(said)
    for pattern, error_class in table:
        if re.search(pattern, text, re.IGNORECASE):
            return error_class, text
    if (worded := refusal_in(text)) is not None:
        return worded, text
    return ErrorClass.TRANSIENT if TROUBLE.search(text) else ErrorClass.BAD_PAYLOAD, text
