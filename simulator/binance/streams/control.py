"""Binance's control messages: what is sent to a connection, and what it answers."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from simulator.answers import dump
from simulator.binance.streams.names import PUBLIC, parse
from simulator.streams.session import Session

MOST_STREAMS: Final = 1024
LONGEST_SUBSCRIBE: Final = 4096  # bytes of one message
RAW: Final = 0
COMBINED: Final = 1
_METHODS: Final = (
    "SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY",
)  # fmt: skip


@dataclass(slots=True)
class Heart:
    """What Binance knows of a connection's life, and the route that it came by."""

    route: str  # market, public or private; "" for the addresses without one
    pinged_s: float
    unanswered_since_s: float | None = None
    payload: bytes = b""


class Wrong(Exception):
    """A message that is answered with an error: its code, text and id."""

    def __init__(self, code: int, text: str, request_id: object = None) -> None:
        super().__init__(text)
        self.body = dump({"error": {"code": code, "msg": text}, "id": request_id})


def answer(session: Session, text: bytes) -> None:
    """Does what one message asks for, and answers it."""
    if len(text) > LONGEST_SUBSCRIBE:
        session.limit_broken("frame size")
        session.close(3001, "Payload too large")
        return
    try:
        request_id, result, begun = _do(session, text)
    except Wrong as wrong:
        session.send(wrong.body)
        return
    session.send(b'{"result":%s,"id":%s}' % (dump(result), dump(request_id)))
    session.send_snapshots(begun)


def _do(session: Session, text: bytes) -> tuple[object, object, list[str]]:
    """The request's id, the result, and the streams that begin."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Wrong(3, f"Invalid JSON: {error}") from None
    if not isinstance(request, dict):
        raise Wrong(2, "Invalid request: expected an object")
    request_id = request.get("id")
    if not isinstance(request_id, int) or isinstance(request_id, bool) or request_id < 0:
        raise Wrong(2, "Invalid request: request ID must be an unsigned integer")
    method = request.get("method")
    if method == "LIST_SUBSCRIPTIONS":
        return request_id, list(session.streams), []
    if method not in _METHODS:
        variant = method if isinstance(method, str) else ""
        raise Wrong(2, f"Invalid request: unknown variant `{variant}`", request_id)
    parameters = request.get("params")
    if not isinstance(parameters, list):
        raise Wrong(2, "Invalid request: missing field `params`", request_id)
    if method.endswith("PROPERTY"):
        return request_id, _property(session, method, parameters, request_id), []
    if not all(isinstance(name, str) for name in parameters):
        raise Wrong(1, "Invalid value type: expected String", request_id)
    if method == "SUBSCRIBE":
        return request_id, None, _subscribe(session, parameters, request_id)
    for name in parameters:
        session.unsubscribe(name)
    return request_id, None, []


def _subscribe(session: Session, names: list[str], request_id: object) -> list[str]:
    new = [name for name in dict.fromkeys(names) if name not in session.streams]
    if len(session.streams) + len(new) > MOST_STREAMS:
        session.limit_broken("streams")
        raise Wrong(4, "Too many subscriptions", request_id)
    for name in new:
        session.subscribe(name, delivers=delivers(session, name))
    return new


def delivers(session: Session, stream: str) -> bool:
    """Whether a stream delivers on the connection's route; without a route, as on public."""
    name = parse(stream)
    return name is not None and name.route == (session.state.route or PUBLIC)


def _property(session: Session, method: str, parameters: list[Any], request_id: object) -> object:
    if not parameters or parameters[0] != "combined":
        raise Wrong(0, "Unknown property", request_id)
    if method == "GET_PROPERTY":
        return session.form == COMBINED
    if len(parameters) != 2 or not isinstance(parameters[1], bool):
        raise Wrong(1, "Invalid value type: expected Boolean", request_id)
    session.form = COMBINED if parameters[1] else RAW
    return None
