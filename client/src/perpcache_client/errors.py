"""The errors of this package, one tree.

PerpcacheError
├── ServiceUnavailable    no usable answer in time: ask again later
│   └── TooManyRequests   the service wants this client to ask less
├── Timeout               the time given was over; a TimeoutError, too
├── BadAnswer             an answer that is not Perpcache's, or not whole: look at the address
├── NotFound              there is no such thing, or not yet: the text says what to POST
├── InvalidRequest        the request is wrong: the text has the service's words
├── Unauthorized          a token is missing or wrong
├── JobFailed             a collection ended without success; `job` says how
└── MissingPackage        an optional package is not installed; an ImportError, too

No text of these holds a token.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perpcache_client.records import Job


class PerpcacheError(Exception):
    """What all errors of this package are. `status` is that of the answer, if there was one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ServiceUnavailable(PerpcacheError):
    """There was no usable answer in time. `retry_after_s`: when the service said to ask again."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class TooManyRequests(ServiceUnavailable):
    """The service wants this client to ask less."""


class Timeout(PerpcacheError, TimeoutError):
    """The time given was over before there was a whole answer."""


class BadAnswer(PerpcacheError):
    """The answer is not one of Perpcache, or not whole."""


class NotFound(PerpcacheError):
    """There is no such thing, or not yet. `unknown`: the symbols that were asked for and that the
    service does not know."""

    def __init__(
        self, message: str, *, status: int | None = None, unknown: Sequence[str] = ()
    ) -> None:
        super().__init__(message, status=status)
        self.unknown = tuple(unknown)


class InvalidRequest(PerpcacheError):
    """The service refuses the request. `errors`: what is wrong with which part of it."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message, status=status)
        self.errors = tuple(errors)


class Unauthorized(PerpcacheError):
    """A token is missing, or the service does not take this one."""


class JobFailed(PerpcacheError):
    """A job ended without success, or is not known any more. `job`: its last known state."""

    def __init__(self, message: str, job: "Job") -> None:
        super().__init__(message)
        self.job = job


class MissingPackage(PerpcacheError, ImportError):
    """An optional package is not installed; the text has the command that installs it."""
