"""Fields: which ones each kind of question has, and a field's text as paths with a unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from providers.paths import Path, path_of

LEVELS: Final = ("slow", "standard", "fast")
EVM_FIELDS: Final = (
    "base_fee",
    *(f"priority_{level}" for level in LEVELS),
    *(f"max_fee_{level}" for level in LEVELS),
)
BITCOIN_FIELDS: Final = tuple(f"fee_{level}" for level in LEVELS)
# Where an answer's form shows, the first that a row has.
_TELLING: Final = ("items", "value", "raw", *EVM_FIELDS, *BITCOIN_FIELDS, "height", "head_time")


@dataclass(frozen=True, slots=True)
class Field:
    """Paths with their unit, as rows write them: `path || other path | unit`. The first that leads
    to something counts."""

    paths: tuple[Path, ...]
    unit: str | None


@lru_cache(maxsize=4096)
def field_of(text: str) -> Field:
    """Raises ValueError where it is none."""
    *others, last = text.split("||")
    path, _, unit = last.partition("|")
    return Field(tuple(path_of(each) for each in (*others, path)), unit.strip() or None)


def telling(read: Mapping[str, Any]) -> tuple[Path, ...]:
    """The paths that show whether an answer has the form that a row reads; none of most readers."""
    texts = [read[name] for name in _TELLING if name in read] or list(
        read.get("metrics", {}).values()
    )
    return field_of(texts[0]).paths if texts else ()


def root_of(read: Mapping[str, Any]) -> tuple[type[Any], ...]:
    """What an answer must be for a row's paths to lead anywhere."""
    paths = telling(read)
    return paths[0].root if paths else (object,)
