"""The metrics of collectors' outputs: data points sent, dropped and refused, by output."""

from prometheus_client import CollectorRegistry, Counter


class OutputMetrics:
    """The outputs of one process, registered in `registry`, or in one of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._sent = self._counter("sent", "Data points that an output's store has taken.")
        self._dropped = self._counter(
            "dropped", "Data points dropped because an output's queue was full, or at its end."
        )
        self._errors = self._counter("errors", "Data points that an output refused.")

    def watch(self, output: str) -> None:
        """Creates the series of an output at 0, so that a first drop shows as a rise."""
        for counter in (self._sent, self._dropped, self._errors):
            counter.labels(output)

    def sent(self, output: str, count: int) -> None:
        self._sent.labels(output).inc(count)

    def dropped(self, output: str, count: int) -> None:
        self._dropped.labels(output).inc(count)

    def error(self, output: str, count: int) -> None:
        self._errors.labels(output).inc(count)

    def _counter(self, what: str, meaning: str) -> Counter:
        return Counter(
            f"perpcache_live_output_{what}_total", meaning, ("output",), registry=self.registry
        )
