"""Bybit's control messages: what is sent to a connection, and what it answers."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from simulator.answers import dump
from simulator.streams.session import Session

MOST_CHARACTERS: Final = 21_000  # of all topics of one connection together
Knows = Callable[[str], bool]


def answer(session: Session, text: bytes, knows: Knows) -> None:
    """Does what one message asks for, and answers it. `knows`: whether a topic exists."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError:
        request = None
    if not isinstance(request, dict):
        _send(session, "", "", "error:invalid json")  # the text: choice
        return
    request_id, op = str(request.get("req_id", "")), str(request.get("op", ""))
    if op == "ping":
        _send(session, request_id, op, "pong", success=True)
        return
    topics = request.get("args")
    if op not in ("subscribe", "unsubscribe"):
        _send(session, request_id, op, f"error:invalid op,op:{op}")  # choice
    elif not isinstance(topics, list) or not topics or not all(isinstance(t, str) for t in topics):
        _send(session, request_id, op, "error:invalid args")  # choice
    elif op == "subscribe":
        _subscribe(session, request_id, topics, knows)
    else:
        for topic in topics:
            session.unsubscribe(topic)
        _send(session, request_id, op, "", success=True)


def _subscribe(session: Session, request_id: str, topics: list[Any], knows: Knows) -> None:
    """A batch with one bad topic, or one already subscribed, is rejected whole."""
    problem = _problem(session, topics, knows)
    if problem:
        _send(session, request_id, "subscribe", problem)
        return
    for topic in topics:
        session.subscribe(topic)
    _send(session, request_id, "subscribe", "", success=True)
    session.send_snapshots(topics)


def _problem(session: Session, topics: list[str], knows: Knows) -> str:
    seen = set(session.streams)
    for topic in topics:
        if not knows(topic):
            return f"error:handler not found,topic:{topic}"
        if topic in seen:
            return f"error:already subscribed,topic:{topic}"
        seen.add(topic)
    if sum(map(len, seen)) > MOST_CHARACTERS:
        session.limit_broken("args")
        return f"error:args too long, over {MOST_CHARACTERS}"  # the text: choice
    return ""


def _send(
    session: Session, request_id: str, op: str, message: str, *, success: bool = False
) -> None:
    body = {
        "success": success,
        "ret_msg": message,
        "conn_id": session.conn_id,
        "req_id": request_id,
        "op": op,
    }
    session.send(dump(body))
