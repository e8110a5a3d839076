"""Witnesses of one question: values that came, those that are held back, and whom to believe."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from providers.answers import Known
from providers.bounds import MANY, subject_of
from providers.errors import ErrorClass, Tried
from providers.plausible import Doubt, Plausible, agree, are_two
from providers.questions import Question
from providers.records import Record
from providers.resources import Resource


@dataclass(frozen=True, slots=True)
class Told:
    """What one resource told of one subject."""

    resource: Resource
    records: tuple[Record, ...]
    doubt: Doubt | None = None


@dataclass(slots=True)
class Witnesses:
    """`believed`: by name (see answers.names_of). `last`: what was known before; `others`: prices
    of another kind. `doubted`: values that wait for a second source. `liars`: resources whose value
    was not true, with what they told."""

    question: Question
    names: tuple[str, ...]
    plausible: Plausible
    last: Mapping[str, Known]
    others: Mapping[str, Known] = field(default_factory=dict)
    believed: dict[str, Told] = field(default_factory=dict)
    doubted: dict[str, list[Told]] = field(default_factory=dict)
    liars: list[tuple[Told, str]] = field(default_factory=list)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.believed)

    @property
    def any_held(self) -> bool:
        """Whether a value is not given on one word, and so is worth waiting for another."""
        told = (each for group in self.doubted.values() for each in group)
        return any(each.doubt is not None and each.doubt.held for each in told)

    def not_believed(self) -> list[Tried]:
        """Who answered with a value that is not given, and why."""
        held = [
            (each, f"{name}: {each.doubt.reason if each.doubt else 'others tell another'}")
            for name, group in self.doubted.items()
            for each in group
        ]
        return [
            Tried(
                resource=told.resource.id,
                level=told.resource.level.name,
                error_class=ErrorClass.BAD_PAYLOAD,
                skipped=None,
                message=f"it is not believed: {why}",
            )
            for told, why in (*held, *self.liars)
        ]

    def hear(self, resource: Resource, records: Iterable[Record], now_ms: int) -> None:
        """Takes in what a resource told of those that are missing."""
        if self.question.kind in MANY:
            name = self.names[0]
            self.believed.setdefault(name, Told(resource, tuple(records)))
            return
        by_name: dict[str, list[Record]] = {}
        for record in records:
            by_name.setdefault(subject_of(record) or "", []).append(record)
        for name in self.missing:
            if name in by_name:
                self._weigh(name, Told(resource, tuple(by_name[name])), now_ms)

    def _weigh(self, name: str, told: Told, now_ms: int) -> None:
        last, other = _first_of(self.last.get(name)), _first_of(self.others.get(name))
        doubt = self.plausible.doubt(told.records[0], last, now_ms, other)
        others = self.doubted.setdefault(name, [])
        agreeing = [each for each in others if agree(each.records[0], told.records[0])]
        if any(are_two(each.resource, told.resource) for each in agreeing):
            self._believe(name, agreeing[0], others)
        elif doubt is None and not any(each.doubt and not each.doubt.held for each in others):
            self._believe(name, told, others)
        else:
            others.append(Told(told.resource, told.records, doubt))

    def _believe(self, name: str, told: Told, others: list[Told]) -> None:
        for other in others:
            if not agree(other.records[0], told.records[0]):
                why = "" if other.doubt is None else f": {other.doubt.reason}"
                self.liars.append((other, f"{name} is contradicted by {told.resource.id}{why}"))
        self.believed[name] = told
        self.doubted.pop(name, None)

    def settle_for_one_word(self) -> None:
        """Nobody else is left to ask: a first value is believed without a second source, one that
        jumped is not, and of first values that contradict each other none is."""
        for name, told in list(self.doubted.items()):
            first = [each for each in told if each.doubt is None or not each.doubt.held]
            if first and all(agree(first[0].records[0], each.records[0]) for each in told):
                self.believed[name] = first[0]
                del self.doubted[name]


def _first_of(known: Known | None) -> Record | None:
    return known.records[0] if known is not None and known.records else None
