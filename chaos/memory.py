"""Samples of the memory of the service's processes, and the check that it does not grow."""

import asyncio
import contextlib
import time
from statistics import median
from typing import Final

import psutil

from chaos.deployment import Deployment

_EVERY_S: Final = 1.0
_MB: Final = 1e6
# Processes that lived this long are checked: their first samples after warming up against their
# last. They may grow by a quarter plus this much, because allocators and caches fill slowly.
_LIVED_S: Final = 60.0
_WARM_S: Final = 20.0
_MAY_GROW: Final = 1.25
_MAY_GROW_MB: Final = 24.0
# The documents have a few hundred kilobytes, so no process needs more than this.
MOST_MB: Final = 400.0


class Memory:
    """Samples resident memory by pid."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._kinds = ("api", "worker", *(("live",) if deployment.plan.live else ()))
        self._samples: dict[tuple[str, int], list[tuple[float, float]]] = {}

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self._sample)
            await asyncio.sleep(_EVERY_S)

    def _sample(self) -> None:
        for what in self._kinds:
            for pid in self._deployment.pids(what):
                with contextlib.suppress(psutil.Error):
                    used_mb = psutil.Process(pid).memory_info().rss / _MB
                    samples = self._samples.setdefault((what, pid), [])
                    samples.append((time.monotonic(), used_mb))

    def report(self) -> None:
        """Adds the memory used to the report, and a violation for each process that grew."""
        report = self._deployment.report
        for what in self._kinds:
            lives = [samples for (name, _), samples in self._samples.items() if name == what]
            if not lives:
                report.violate("memory is sampled", f"no {what} process was found")
                continue
            most_mb = max(used for samples in lives for _, used in samples)
            longest = max(lives, key=lambda samples: samples[-1][0] - samples[0][0])
            report.notes.append(
                f"memory of {what}: at most {most_mb:.0f} MB in {len(lives)} processes; the one "
                f"that lived longest ({longest[-1][0] - longest[0][0]:.0f} s) from "
                f"{longest[min(3, len(longest) - 1)][1]:.0f} to {longest[-1][1]:.0f} MB"
            )
            if most_mb > MOST_MB:
                report.violate("memory is bounded", f"{what} used {most_mb:.0f} MB")
            for samples in lives:
                if problem := grown(samples):
                    report.violate("memory does not grow", f"{what}: {problem}")


def grown(samples: list[tuple[float, float]]) -> str:
    """How much a process grew, from its samples (seconds, MB); empty if within bounds."""
    began, ended = samples[0][0], samples[-1][0]
    if ended - began < _LIVED_S:
        return ""
    warm = [used for at, used in samples if at - began >= _WARM_S]
    third = max(1, len(warm) // 3)
    first, last = median(warm[:third]), median(warm[-third:])
    if last <= first * _MAY_GROW + _MAY_GROW_MB:
        return ""
    return f"from {first:.0f} to {last:.0f} MB in {ended - began:.0f} s"
