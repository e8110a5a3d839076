"""What errors mean that come with status 200: GraphQL's, and answers that are nothing but an error.

Such an answer is not one that has nothing of what was asked: nobody learns from it what its
provider does not know.
"""

import re
from typing import Any, Final

from providers.errors import ErrorClass
from providers.exact import is_none, shown
from providers.explorer_errors import Fault
from providers.paths import as_text
from providers.wording import TROUBLE, refusal_in
from texts.foreign import foreign_text

# What an answer has that is nothing but an error; its data would stand under other names.
_OF_ERRORS: Final = frozenset({
    "code", "detail", "details", "error", "error_code", "error_message", "errorcode",
    "errormessage", "errors", "message", "msg", "ok", "path", "reason", "request_id", "requestid",
    "response", "status", "statuscode", "status_code", "success", "time", "timestamp", "title",
    "type",
})  # fmt: skip
_TEXTS: Final = (
    *("error", "errors", "error_message", "errormessage", "message", "msg", "detail", "reason"),
    *("title", "info", "description"),
)
_CODES: Final = ("code", "error_code", "errorcode", "statuscode", "status_code", "status")
_NO_ERROR: Final = re.compile(r"\W*(?:ok|success\w*|none)\W*", re.IGNORECASE)
_NOT_THERE: Final = re.compile(r"not found|unknown|does(?: not|n't) exist|no such|no data", re.I)
_BY_CODE: Final = {
    "401": ErrorClass.KEY_REJECTED,
    "402": ErrorClass.QUOTA_SPENT,
    "403": ErrorClass.PLAN_FORBIDS,
    "404": ErrorClass.UNKNOWN,
    "429": ErrorClass.RATE_LIMITED,
    "451": ErrorClass.GEO_BLOCKED,
    "500": ErrorClass.TRANSIENT,
    "502": ErrorClass.TRANSIENT,
    "503": ErrorClass.TRANSIENT,
    "504": ErrorClass.TRANSIENT,
}


def told_fault(document: Any) -> Fault | None:
    """None for an answer, and for one that has nothing and says no more."""
    if not isinstance(document, dict) or not document:
        return None
    errors = document.get("errors")
    if isinstance(errors, list) and errors and not document.get("data"):
        return _fault(_said(errors), errors)
    if not all(isinstance(key, str) and key.lower() in _OF_ERRORS for key in document):
        return None
    said = _said(document)
    return None if said is None or _NO_ERROR.fullmatch(said) else _fault(said, document)


def _said(document: Any) -> str | None:
    """The first text of an error in it."""
    if isinstance(document, str):
        return document if document.strip() else None
    if isinstance(document, list):
        return next((said for each in document if (said := _said(each)) is not None), None)
    if not isinstance(document, dict):
        return None
    named = {key.lower(): value for key, value in document.items() if not is_none(value)}
    texts = (_said(named[key]) for key in _TEXTS if key in named)
    nested = (_said(value) for value in named.values() if isinstance(value, dict))
    return next((said for group in (texts, nested) for said in group if said is not None), None)


def _code(document: Any) -> str | None:
    """The code of the error, which some give in place of a status."""
    if isinstance(document, list):
        document = document[0]
    if not isinstance(document, dict):
        return None
    named = {key.lower(): value for key, value in document.items()}
    codes = (as_text(named.get(key)) for key in _CODES)
    nested = (_code(value) for value in document.values() if isinstance(value, dict))
    return next((each for group in (codes, nested) for each in group if each in _BY_CODE), None)


def _fault(said: str | None, document: Any) -> Fault:
    text = shown(document) if said is None else foreign_text(said)
    if (worded := refusal_in(text)) is not None:
        return worded, text
    if (by_code := _BY_CODE.get(_code(document) or "")) is not None:
        return by_code, text
    if _NOT_THERE.search(text):
        return ErrorClass.UNKNOWN, text
    return ErrorClass.TRANSIENT if TROUBLE.search(text) else ErrorClass.BAD_PAYLOAD, text
