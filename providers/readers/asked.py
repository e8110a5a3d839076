"""What a reader is told beside the body, and the one way in which it refuses an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.assets import Assets
from providers.errors import ErrorClass, ProviderError
from providers.exact import BOM, NotJson, json_of
from providers.questions import Question
from providers.records import Record
from providers.resources import Resource


@dataclass(frozen=True, slots=True)
class Asked:
    """`subjects`: those of this request; `part`: which of the row's requests it is (see `also`);
    `fetched_at_ms`: when the answer came; `headers`: of the answer."""

    resource: Resource
    question: Question
    subjects: tuple[str, ...]
    fetched_at_ms: int
    assets: Assets
    headers: Mapping[str, str] = field(default_factory=dict)
    part: int = 0

    @property
    def read(self) -> Mapping[str, Any]:
        """Where the fields are in this answer."""
        return self.resource.read if self.part == 0 else self.resource.read["also"][self.part - 1]

    def common(self, as_of_ms: int | None) -> dict[str, Any]:
        """The fields that every record has."""
        return {
            "provider": self.resource.provider.id,
            "resource": self.resource.id,
            "fetched_at_ms": self.fetched_at_ms,
            "as_of_ms": as_of_ms,
        }

    def refused(self, error_class: ErrorClass, message: str) -> ProviderError:
        return ProviderError(error_class, f"{self.resource.id}: {message}")

    def bad(self, message: str) -> ProviderError:
        return self.refused(ErrorClass.BAD_PAYLOAD, message)

    def nothing(self) -> ProviderError:
        """The provider answered, and has none of what was asked for."""
        return self.refused(
            ErrorClass.UNKNOWN, f"the answer has nothing of {', '.join(self.subjects)}"
        )

    def document(self, body: bytes) -> Any:
        """The answer as JSON. Raises ProviderError: transient where it was cut off or is a page."""
        try:
            return json_of(body)
        except NotJson as error:
            page = body.removeprefix(BOM).lstrip()[:1] in (b"<", b"")
            transient = error.cut_off or page
            raise self.refused(
                ErrorClass.TRANSIENT if transient else ErrorClass.BAD_PAYLOAD,
                f"{error}{' (a page of HTML)' if page and body.strip() else ''}",
            ) from error


Reader = Callable[[bytes, Asked], list[Record]]
