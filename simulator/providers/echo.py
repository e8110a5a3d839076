"""Errors of simulated providers that repeat what was sent, keys and all, as some providers do."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson

from simulator.answers import Answer, dump
from simulator.providers.asked import Asked

# What is like a key: long, with letters of both cases and digits.
_KEY: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[!-~]{16,200}")
_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "plain": str,
    "upper": str.upper,
    "lower": str.lower,
    "percent": lambda key: quote(key, safe=""),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    # In the header of a login the key stands behind a name.
    "basic": lambda key: base64.b64encode(f"u:{key}".encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "upper_hex": lambda key: key.encode().hex().upper(),
    "part": lambda key: f"{key[: len(key) // 2]}***",
}
REQUEST: Final = "request"
ECHOES: Final = (REQUEST, *_FORMS)


def echo_of(asked: Asked, form: str) -> str:
    """What the provider repeats: the whole request, or what is like a key in it in some form."""
    if form == REQUEST:
        query = "&".join(f"{name}={text}" for name, text in asked.query.items())
        headers = " ".join(f"{name}: {text}" for name, text in asked.headers.items())
        body = asked.body.decode(errors="replace")
        return f"{asked.method} {asked.path}?{query} {body} {headers}"
    return " ".join(map(_FORMS[form], dict.fromkeys(_keys(asked))))


def with_echo(answer: Answer, echo: str) -> Answer:
    """The error with the echo behind its longest text."""
    if answer.content_type.startswith("text/html"):
        answer.body = answer.body.replace(b"</title>", f" {echo}</title>".encode())
        return answer
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        answer.body += f": {echo}".encode()
        return answer
    longest = max(_texts(document), key=_letters, default="")
    answer.body = dump(_replaced(document, longest, f"{longest}: {echo}"))
    return answer


def _keys(asked: Asked) -> Iterator[str]:
    words = [word for text in asked.headers.values() for word in text.split()]
    for word in (*words, *asked.query.values(), *asked.path.split("/")):
        if _KEY.fullmatch(word):
            yield word


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from _texts(each)


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _replaced(document: Any, text: str, by: str) -> Any:
    if isinstance(document, dict):
        return {name: _replaced(each, text, by) for name, each in document.items()}
    if isinstance(document, list):
        return [_replaced(each, text, by) for each in document]
    return by if document == text else document
