"""The expressions of the dashboard and of the alerts, as the files under docs/ hold them."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

import yaml

from tests.fixtures.numbers import Numbers

# What is told where streams are fed, workers run, providers are asked or the facade is on, alone.
_OF_LIVE: Final = re.compile(
    r"\b(?:collector|perpcache_(?:live|provider|facade|worker_(?:run|running|runs|stream)))(?:_|\b)"
)
DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def expressions_of(file: str) -> list[str]:
    text = (DOCS / file).read_text()
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel.get("targets", ())]
    (group,) = yaml.safe_load(text)["groups"]
    return [rule["expr"] for rule in group["rules"]]


def is_of_live(expression: str) -> bool:
    """Whether it shows what is told where streams are fed, or collectors or workers run, alone."""
    return bool(_OF_LIVE.search(expression))


def check_expressions(expressions: list[str], numbers: Numbers, also: Collection[str] = ()) -> None:
    """Every name is in the scrape, and every label of an expression on what it is taken from;
    `also`: labels of processes that do not run."""
    assert expressions
    for expression in expressions:
        names = set(re.findall(r"\b(?:perpcache|collector)_[a-z0-9_]+", expression))
        assert names, expression
        labels: set[str] = {"instance", *also}  # added by Prometheus itself
        for name in names:
            found = numbers.labels(name)
            # The caches and the store have samples with few labels or none.
            assert any(sample.name == name for sample in numbers.samples), name
            labels |= found
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, expression
        for selector in re.findall(r"(?:perpcache|collector)_[a-z0-9_]+\{([^}]*)\}", expression):
            assert set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector)) <= labels, expression
