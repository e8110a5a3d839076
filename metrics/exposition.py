"""How numbers travel between processes, and how they become one page for Prometheus.

`packed` and `unpacked`: a registry's samples as a short text for the hot store, and back.
`Page`: samples of several processes, told apart by labels, as Prometheus' text format.
"""

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
_NAME: Final = re.compile(r"perpcache_[a-z0-9_]+")
# When an instrument was made: Prometheus finds restarts without it.
_LEFT_OUT: Final = "_created"

log = structlog.get_logger(__name__)


class NotPacked(ValueError):
    """The text is not what `packed` makes."""


def packed(registry: CollectorRegistry) -> str:
    """The registry's samples as base64 of deflated JSON, about a tenth of their text.

    Empty, which counts as no numbers, when that would be over LARGEST_PACKED.
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
        log.error("metrics_too_large", bytes=len(text))
        return ""
    return text


def unpacked(text: bytes) -> list[Metric]:
    """What `packed` took. Raises NotPacked for anything else."""
    if len(text) > LARGEST_PACKED:
        raise NotPacked("too long")
    try:
        inflater = zlib.decompressobj()
        json = inflater.decompress(base64.b64decode(text, validate=True), _LARGEST_UNPACKED)
        return [_family(*family) for family in orjson.loads(json)]
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        raise NotPacked(str(error)) from None


def _family(name: str, kind: str, documentation: str, samples: Iterable[Any]) -> Metric:
    family = Metric(name, documentation, kind)
    for sample_name, labels, value in samples:
        if not _NAME.fullmatch(sample_name):
            raise NotPacked(f"{sample_name} is not a name of ours")
        family.add_sample(sample_name, {str(k): str(v) for k, v in labels.items()}, float(value))
    return family


def _samples(family: Metric) -> Iterator[Sample]:
    return (sample for sample in family.samples if not sample.name.endswith(_LEFT_OUT))


@dataclass(frozen=True, slots=True)
class _Families:
    """What generate_latest asks for."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class Page:
    """Families by name; a name has one type and help, whoever brings samples of it."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, families: Iterable[Metric], labels: Mapping[str, str] | None = None) -> None:
        """Adds samples, `labels` put to each."""
        for family in families:
            ours = self._families.get(family.name)
            if ours is None:
                ours = Metric(family.name, family.documentation, family.type)
                self._families[family.name] = ours
            elif ours.type != family.type:
                continue  # from a process of another release: one page holds one of the two
            for sample in _samples(family):
                ours.add_sample(sample.name, {**sample.labels, **(labels or {})}, sample.value)

    def text(self) -> bytes:
        return generate_latest(_Families(self._families.values()))
