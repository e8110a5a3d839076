"""Unprintable characters as escapes, so that names of others do nothing to a terminal or log."""

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|([\\nrt]))?"
)
_SHORT: Final = {"\\": "\\", "\n": "n", "\r": "r", "\t": "t"}
_SHORT_BACK: Final = {letter: sign for sign, letter in _SHORT.items()}


def printable(text: str, *, keep: str = "") -> str:
    """The text in which each unprintable character is an escape such as `\\x1b` or `\\u202e`.

    Those are control characters, line breaks, marks that turn the direction of writing, invisible
    and unassigned characters, and lone surrogates. The characters in `keep` stay.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else escape_of(sign) for sign in text)


def escaped(text: str, also: str = "") -> str:
    """As `printable`, but reversible by `unescaped`: a backslash is doubled.

    The characters in `also` become escapes too.
    """
    text = printable(text.replace("\\", "\\\\"))
    return "".join(escape_of(sign) if sign in also else sign for sign in text) if also else text


def unescaped(text: str) -> str:
    """The text that `escaped` was given. Raises ValueError for any other backslash."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_sign_of, text)


def escape_of(sign: str) -> str:
    """The escape that stands for one character."""
    if sign in _SHORT:
        return f"\\{_SHORT[sign]}"
    code = ord(sign)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _sign_of(found: re.Match[str]) -> str:
    if found[4]:
        return _SHORT_BACK[found[4]]
    digits = found[1] or found[2] or found[3]
    if digits is None:
        raise ValueError(r"a backslash begins \\, \n, \r, \t, \xNN, \uNNNN or \UNNNNNNNN")
    return chr(int(digits, 16))
