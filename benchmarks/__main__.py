"""`python -m benchmarks`: measures, prints one table, and writes it to benchmarks/results/."""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import (
    bots,
    closes,
    collecting,
    columns,
    facade,
    history,
    providers,
    publishing,
    running,
    serving,
    shards,
    short_runs,
    status,
    streams,
)
from benchmarks.benchmark_run import BenchmarkRun
from benchmarks.machine import ROOT, Cores, facts
from benchmarks.report import Report
from benchmarks.sizes import FULL, TINY

PARTS: Final[Mapping[str, Callable[[BenchmarkRun], Awaitable[None]]]] = {
    serving.PART: serving.measure,
    publishing.PART: publishing.measure,
    columns.PART: columns.measure,
    collecting.PART: collecting.measure,
    closes.PART: closes.measure,
    streams.PART: streams.measure,
    history.PART: history.measure,
    shards.PART: shards.measure,
    short_runs.PART: short_runs.measure,
    providers.PART: providers.measure,
    facade.PART: facade.measure,
    status.PART: status.measure,
    bots.PART: bots.measure,
    running.PART: running.measure,
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compares Perpcache with well-known programs, both sides of a ratio in one "
        "run, and prints one table: the median of the runs, the target, and whether it is met. "
        "Takes about 140 minutes, of which closes takes 40, streams 35 and running 35: they "
        "wait for the exchanges' limits and closes as a service would.",
    )
    parser.add_argument("--part", choices=list(PARTS), help="only this part (all)")
    parser.add_argument("--runs", type=int, help=f"runs of each row ({FULL.runs})")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to test the benchmarks")
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "benchmarks" / "results",
        help="folder of latest.json and latest.md, or of PART.json and PART.md (%(default)s)",
    )
    return parser


async def run(arguments: argparse.Namespace) -> Report:
    """Measures the chosen parts and leaves nothing behind but the report."""
    sizes = TINY if arguments.tiny else FULL
    if arguments.runs:
        sizes = replace(sizes, runs=arguments.runs)
    cores = Cores.of_this_machine()
    folder = Path(tempfile.mkdtemp(prefix="perpcache-bench-"))
    bench = BenchmarkRun(sizes, cores, folder)
    machine = facts(cores)
    began = time.monotonic()
    try:
        for name, measure in PARTS.items():
            if arguments.part in (None, name):
                await measure(bench)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine["runs"] = f"{sizes.runs} of each row, medians, both sides of a ratio in the same run"
    if arguments.tiny:
        machine["sizes"] = "tiny: these numbers say nothing"
    machine["measured"] = time.strftime("%Y-%m-%d", time.gmtime())
    machine["took"] = f"{time.monotonic() - began:.0f} s"
    return Report(machine, bench.rows, bench.left_out)


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(arguments))
    json, markdown = report.write(arguments.results, arguments.part or "latest")
    sys.stdout.write(report.as_markdown())
    sys.stdout.write(f"\nwritten: {json} and {markdown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
