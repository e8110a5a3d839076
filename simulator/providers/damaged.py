"""Answers of providers that are damaged: cut, empty, web pages, values that cannot be."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump, error_page
from simulator.providers.dialects import CHALLENGE, HTML

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?|0x[0-9a-f]{1,24}")
_DOCTYPE: Final = b'<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


def truncated(answer: Answer) -> Answer:
    answer.body = answer.body[: len(answer.body) // 2]
    return answer


def html(answer: Answer) -> Answer:
    page = error_page(200, "Welcome")
    return Answer(200, page.body, HTML)


def challenge(answer: Answer) -> Answer:
    return Answer(200, CHALLENGE.encode(), HTML)


def empty(answer: Answer) -> Answer:
    answer.body = b""
    return answer


DAMAGING: Final[Mapping[str, Callable[[Answer], Answer]]] = {
    "truncated": truncated,
    "html": html,
    "challenge": challenge,
    "empty": empty,
}


def impossible(answer: Answer, variant: str) -> Answer:
    """The answer with values that cannot be in place of all its numbers."""
    if variant == "doctype":
        answer.body = answer.body.replace(b"?>", b"?>" + _DOCTYPE, 1)
        return answer
    try:
        value = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return truncated(answer)
    answer.body = dump(_with(value, _INSTEAD[variant], flat=variant == "types"))
    if variant == "nan":  # orjson writes none of these
        answer.body = answer.body.replace(b'"#nan#"', b"NaN")
    return answer


def telling(answer: Answer, text: str) -> Answer:
    """The answer with a text in place of all its numbers."""
    try:
        answer.body = dump(_with(orjson.loads(answer.body), (text, text), flat=False))
    except orjson.JSONDecodeError:
        return truncated(answer)
    return answer


def _with(value: Any, instead: tuple[Any, Any], *, flat: bool) -> Any:
    if isinstance(value, dict):
        if flat:
            return [_with(item, instead, flat=flat) for item in value.values()]
        return {name: _with(item, instead, flat=flat) for name, item in value.items()}
    if isinstance(value, list):
        return [_with(item, instead, flat=flat) for item in value]
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value)
    if isinstance(value, bool) or not (is_text or isinstance(value, int | float)):
        return value
    return instead[1 if is_text else 0]


_INSTEAD: Final[Mapping[str, tuple[Any, Any]]] = {
    "nan": ("#nan#", "NaN"),
    "zero": (0, "0"),
    "negative": (-1, "-1"),
    "bool": (True, "true"),
    "types": ({}, []),
}
