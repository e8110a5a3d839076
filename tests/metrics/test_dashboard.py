"""The dashboard and the alerts under docs/."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from metrics.api import ApiMetrics
from metrics.live import LiveMetrics
from metrics.worker import WorkerMetrics
from metrics.workers import WorkersMetrics
from tests.metrics.dashboards import DOCS, expressions_of


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    assert board["schemaVersion"] >= 36
    assert [v["type"] for v in board["templating"]["list"] if v["name"] == "datasource"] == [
        "datasource"
    ]
    panels: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken.update(
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
    assert set(taken.values()) == {1}  # no panel lies upon another


def test_every_number_is_on_the_dashboard() -> None:
    """What nobody looks at need not be counted."""
    shown = " ".join(expressions_of("grafana-dashboard.json"))
    live = LiveMetrics()  # with those of collectors
    worker = WorkerMetrics()
    WorkersMetrics(worker.registry)
    api = ApiMetrics()
    api.facade()
    for registry in (worker.registry, api.registry, live.registry):
        for family in registry.collect():
            if not family.name.startswith("perpcache_process"):
                assert family.name in shown


def _quoted_labels(text: str) -> Iterator[str]:
    return iter(re.findall(r"\{\{ \$labels\.(\w+) \}\}", text))


def test_the_alerts_are_a_file_of_rules() -> None:
    (group,) = yaml.safe_load((DOCS / "alerts.example.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["expr"]
        assert rule["annotations"]["summary"]


def test_alerts_speak_of_labels_that_their_expressions_keep() -> None:
    text = (DOCS / "alerts.example.yml").read_text()
    for alert in text.split("- alert: ")[1:]:
        kept = {
            label.strip()
            for group in re.findall(r"by \(([^)]*)\)", alert)
            for label in group.split(",")
        }
        assert set(_quoted_labels(alert)) <= kept, alert
