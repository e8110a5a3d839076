"""job.http(): HTTP requests of workers, as this service or as a browser sends them; deadlines."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from config import Settings
from texts.foreign import foreign_text

DEADLINE_S: Final = 30.0  # for one request, redirects and body included
LARGEST_BODY: Final = 64 * 1024 * 1024  # bytes, decompressed
MOST_REDIRECTS: Final = 10


class BrowserMissing(Exception):
    """What looks like a browser's request needs a package that is not installed."""


class HttpFailed(Exception):
    """A request got no answer, or not in time; the message names the host and the cause."""


class HttpStatus(HttpFailed):
    """An answer's status is an error, and `raise_for_status` was called. `status`: which."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole. `url`: of the last redirect; `headers`: looked up in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str
    text: str

    @property
    def ok(self) -> bool:
        return self.status < 400

    def json(self) -> Any:
        """The body as JSON. Raises ValueError, with the beginning of what is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            shown = foreign_text(self.text, 80)
            raise ValueError(f"status {self.status}: no JSON ({error}): {shown!r}") from None


class Http(Protocol):
    """Sends requests. `request` raises HttpFailed."""

    async def request(self, method: str, url: str, **options: Any) -> Answer: ...
    async def get(self, url: str, **options: Any) -> Answer: ...
    async def post(self, url: str, **options: Any) -> Answer: ...


class HttpClients:
    """The clients of one run, opened when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def client(self, impersonate: str | None) -> Http:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass
