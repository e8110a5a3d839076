"""What the errors of JSON-RPC mean: whether the node, the key, the call or the caller is at fault.

Codes differ from node to node, so messages count as much. The table stands in the order in which it
is tried.
"""

import re
from typing import Any, Final

from providers.errors import ErrorClass
from providers.wording import KEY, LIMITED, TROUBLE, spent_period
from texts.foreign import foreign_text

REVERTED: Final = 3  # the contract refused the call: an answer
_PLAN: Final = re.compile(r"upgrade|paid plan|not (?:available|supported) on|tier", re.IGNORECASE)
# What this node does not have, and another one may: no fault of anybody.
_NOT_HERE: Final = re.compile(
    r"missing trie node|header not found|no state available|no historical|pre-bedrock|"
    r"state .*not available|unknown block|block not found|pruned|archive|block.{0,12}range|"
    r"blocks range|ranges? over|limited to .{0,20}range|specify an address|"
    r"method .*(?:not|disabled)|is not available|unsupported method|not whitelisted|"
    r"more than \d+ results|response size|max results",
    re.IGNORECASE,
)
_CALLER: Final = re.compile(r"invalid (?:params|argument|address)|hex string", re.IGNORECASE)
_BY_CODE: Final = {
    -32005: ErrorClass.RATE_LIMITED,
    -32601: ErrorClass.UNKNOWN,
    -32602: ErrorClass.CALLER_FAULT,
    -32002: ErrorClass.UNKNOWN,
    -32801: ErrorClass.UNKNOWN,
    -32603: ErrorClass.TRANSIENT,
    429: ErrorClass.RATE_LIMITED,
    401: ErrorClass.KEY_REJECTED,
    402: ErrorClass.QUOTA_SPENT,
    403: ErrorClass.PLAN_FORBIDS,
}


def rpc_fault(document: Any) -> tuple[ErrorClass, str] | None:
    """The class and the message of an error in a JSON-RPC answer; None where it has none, and where
    the call was reverted."""
    error = document.get("error") if isinstance(document, dict) else None
    if error is None or is_reverted(document):
        return None
    code = error.get("code") if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    text = foreign_text(message if isinstance(message, str) else repr(message))
    return _class_of(code, text), f"{text} (code {code})" if code is not None else text


def is_reverted(document: Any) -> bool:
    """Whether the error is the contract's answer. Some nodes give code 3 to faults of their own."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return False
    message = str(error.get("message", "")).lower()
    if error.get("code") == REVERTED:
        data = error.get("data")
        return "revert" in message or (isinstance(data, str) and data.startswith("0x"))
    return message.startswith("execution reverted")


def _class_of(code: Any, text: str) -> ErrorClass:
    by_code = _BY_CODE.get(code) if isinstance(code, int) else None
    if _NOT_HERE.search(text):  # also "eth_getLogs is limited to a 1000 blocks range"
        return ErrorClass.UNKNOWN
    if spent_period(text) is not None:
        return ErrorClass.QUOTA_SPENT
    if by_code is ErrorClass.RATE_LIMITED or LIMITED.search(text):
        return ErrorClass.RATE_LIMITED
    if KEY.search(text):
        return ErrorClass.KEY_REJECTED
    if by_code is not None:
        return by_code
    if _PLAN.search(text):
        return ErrorClass.PLAN_FORBIDS
    if _CALLER.search(text):
        return ErrorClass.CALLER_FAULT
    return ErrorClass.TRANSIENT if TROUBLE.search(text) else ErrorClass.BAD_PAYLOAD
