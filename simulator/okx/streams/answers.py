"""The texts of OKX's answers to control messages, and how these are read."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from simulator.answers import dump
from simulator.okx.streams.arguments import Argument, Refused

_NOTICE: Final = "The connection will soon be closed for a service upgrade. Please reconnect."


def read_request(text: bytes) -> Mapping[str, Any]:
    """The JSON object of a control message. Raises Refused."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        request = None
    if not isinstance(request, dict):
        raise invalid(text)
    return request


def invalid(text: bytes) -> Refused:
    """A message that is no request."""
    return Refused(60012, f"Invalid request: {text[:200].decode('utf-8', 'replace')}")


def acknowledgement(op: str, argument: Argument, request_id: str, conn_id: str) -> bytes:
    """The answer to one argument that was taken."""
    named = b'"id":%s,' % dump(request_id) if request_id else b""
    return b'{%s"event":"%s","arg":%s,"connId":"%s"}' % (
        named, op.encode(), argument.text, conn_id.encode(),
    )  # fmt: skip


def error(refused: Refused, request_id: str, conn_id: str) -> bytes:
    """The answer to a request or an argument that was refused; it does not name the argument."""
    named = {"id": request_id} if request_id else {}
    return _event("error", conn_id, msg=str(refused), code=str(refused.code), **named)


def notice(conn_id: str) -> bytes:
    """What is sent 60 s before a connection is closed."""
    return _event("notice", conn_id, code="64008", msg=_NOTICE)


def _event(event: str, conn_id: str, **fields: str) -> bytes:
    return dump({"event": event, **fields, "connId": conn_id})
