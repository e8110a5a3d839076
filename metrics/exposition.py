"""Metrics packed for the hot store, and merged from several processes into one Prometheus page."""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
LARGEST_PACKED: Final = 64 * 1024
_LARGEST_UNPACKED: Final = 2 * 2**20
_NAME: Final = re.compile(r"(?:perpcache|collector)_[a-z0-9_]+")
_LABEL: Final = re.compile(r"[a-z_][a-z0-9_]*")
# Creation times are left out, because Prometheus detects restarts without them.
_LEFT_OUT: Final = "_created"

log = structlog.get_logger(__name__)


class MalformedMetrics(ValueError):
    """The text was not made by `pack`."""


def pack(registry: CollectorRegistry) -> str:
    """The registry's samples as base64 of deflated JSON, about a tenth of their plain text.

    Empty, which means no samples, if it would be longer than LARGEST_PACKED bytes.
    """
    families = [
        (
            family.name,
            family.type,
            family.documentation,
            [(sample.name, sample.labels, sample.value) for sample in _samples(family)],
        )
        for family in registry.collect()
    ]
    text = base64.b64encode(zlib.compress(orjson.dumps(families), 1)).decode()
    if len(text) > LARGEST_PACKED:
        log.error("metrics_too_large", bytes=len(text), limit=LARGEST_PACKED)
        return ""
    return text


def unpack(text: bytes) -> list[Metric]:
    """The inverse of `pack`. Raises MalformedMetrics for any other text."""
    if len(text) > LARGEST_PACKED:
        raise MalformedMetrics(f"too long: {len(text)} bytes, the limit is {LARGEST_PACKED}")
    try:
        inflater = zlib.decompressobj()
        json = inflater.decompress(base64.b64decode(text, validate=True), _LARGEST_UNPACKED)
        return [_family(*family) for family in orjson.loads(json)]
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        raise MalformedMetrics(str(error)) from None


def _family(name: Any, kind: Any, documentation: Any, samples: Any) -> Metric:
    """Raises MalformedMetrics, TypeError or ValueError."""
    if not (isinstance(kind, str) and isinstance(documentation, str)):
        raise MalformedMetrics("a type or help that is no text")
    family = Metric(_matching(_NAME, name), documentation, kind)
    for sample_name, labels, value in samples:
        if not isinstance(labels, dict):
            raise MalformedMetrics("labels that are no object")
        texts = {_matching(_LABEL, label): str(text) for label, text in labels.items()}
        family.add_sample(_matching(_NAME, sample_name), texts, float(value))
    return family


def _matching(pattern: "re.Pattern[str]", name: str) -> str:
    if not pattern.fullmatch(name):
        raise MalformedMetrics(f"{name!r:.40} is no name of ours")
    return name


def _samples(family: Metric) -> Iterator[Sample]:
    return (sample for sample in family.samples if not sample.name.endswith(_LEFT_OUT))


@dataclass(frozen=True, slots=True)
class _Families:
    """The part of a registry that generate_latest uses."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class MetricsPage:
    """The samples of several processes as one text in Prometheus' format.

    Each metric name has one type and one help text, those of the process added first.
    """

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, families: Iterable[Metric], labels: Mapping[str, str] | None = None) -> None:
        """Adds samples, with `labels` added to each."""
        for family in families:
            ours = self._families.get(family.name)
            if ours is None:
                ours = Metric(family.name, family.documentation, family.type)
                self._families[family.name] = ours
            elif ours.type != family.type:
                continue  # another release changed the type, and a page can hold only one
            for sample in _samples(family):
                ours.add_sample(sample.name, {**sample.labels, **(labels or {})}, sample.value)

    def text(self) -> bytes:
        return generate_latest(_Families(self._families.values()))
