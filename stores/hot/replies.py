"""The shapes of the store's replies, checked before anyone reads them: a proxy may send others.

A shape is a function that returns the reply, or raises WrongShape.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")
Shape = Callable[[Any], T]

_LARGEST: Final = 2**63 - 1  # the store's integers


class WrongShape(ValueError):
    """The reply has another shape: says where, what came, and what was wanted."""

    def __init__(self, came: object, wanted: str, place: tuple[int, ...] = ()) -> None:
        element = f"element {'.'.join(map(str, place))} of the reply" if place else "the reply"
        super().__init__(f"{element} is {_described(came)}, not {wanted}")
        self.came = came
        self.wanted = wanted
        self.place = place


def anything(reply: Any) -> Any:
    return reply


def text(reply: Any) -> bytes:
    if not isinstance(reply, bytes):
        raise WrongShape(reply, "a text")
    return reply


def text_or_null(reply: Any) -> bytes | None:
    if not isinstance(reply, bytes | None):
        raise WrongShape(reply, "a text or null")
    return reply


def one_of(*words: bytes) -> Shape[bytes]:
    """One of these texts."""

    def shape(reply: Any) -> bytes:
        if not isinstance(reply, bytes) or reply not in words:
            raise WrongShape(reply, " or ".join(repr(word.decode()) for word in words))
        return reply

    return shape


def whole_number(least: int = 0, most: int = _LARGEST) -> Shape[int]:
    """A number, not as a text, from `least` to `most`."""

    def shape(reply: Any) -> int:
        if type(reply) is not int or not least <= reply <= most:
            raise WrongShape(reply, f"a whole number from {least} to {most}")
        return reply

    return shape


def list_of(element: Shape[T], count: int | None = None) -> Shape[list[T]]:
    """A list of such elements, with so many if `count` is given."""

    def shape(reply: Any) -> list[T]:
        if not isinstance(reply, list) or count not in (None, len(reply)):
            raise WrongShape(reply, "a list" if count is None else f"a list of {count}")
        return [_element(element, part, place) for place, part in enumerate(reply, start=1)]

    return shape


def elements(*each: Shape[Any]) -> Shape[list[Any]]:
    """A list with one element of each of these shapes."""

    def shape(reply: Any) -> list[Any]:
        if not isinstance(reply, list) or len(reply) != len(each):
            raise WrongShape(reply, f"a list of {len(each)}")
        numbered = enumerate(zip(each, reply, strict=True), start=1)
        return [_element(wanted, part, place) for place, (wanted, part) in numbered]

    return shape


def named_texts(reply: Any) -> list[bytes]:
    """A list of names, each followed by its text, as HGETALL has them."""
    texts = list_of(text)(reply)
    if len(texts) % 2:
        raise WrongShape(reply, "a list of names, each with its text")
    return texts


# Of commands that answer in more than one way, such as INFO, the caller checks the reply.
_BY_COMMAND: Final[Mapping[str, Callable[[int], Shape[Any]]]] = {
    "GET": lambda _: text_or_null,
    "SET": lambda _: text_or_null,
    "GETRANGE": lambda _: text,
    "MGET": lambda arguments: list_of(text_or_null, arguments),
    "HGETALL": lambda _: named_texts,
    "SMEMBERS": lambda _: list_of(text),
    "SREM": lambda _: whole_number(),
    "UNLINK": lambda _: whole_number(),
}


def shape_of_command(name: str, arguments: int) -> Shape[Any]:
    """The shape of the reply to a command with so many arguments; `anything` if it varies."""
    known = _BY_COMMAND.get(name.upper())
    return anything if known is None else known(arguments)


def _element(shape: Shape[T], part: Any, place: int) -> T:
    try:
        return shape(part)
    except WrongShape as error:
        raise WrongShape(error.came, error.wanted, (place, *error.place)) from None


def _described(came: object) -> str:
    """What came; texts by their length alone, because they may hold anything."""
    match came:
        case None:
            return "null"
        case bool():
            return "true" if came else "false"
        case int() | float():
            return f"the number {came}"
        case bytes():
            return f"a text of {len(came)} byte{'s' * (len(came) != 1)}"
        case list():
            return f"a list of {len(came)}"
        case dict():
            return "an object"
        case _:
            return f"a {type(came).__name__}"
