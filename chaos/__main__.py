"""`python -m chaos`: the command line of a chaos run, its time limit and its exit codes."""

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import structlog
import uvloop

from chaos.deployment import DeploymentFailed
from chaos.plan import Mode, Plan, draw_plan
from chaos.report import Violation, ViolationReport, summary
from chaos.run import run_plan

_SECONDS: Final = 240.0
_FEWEST_S: Final = 5.0
_MOST_S: Final = 3600.0
# Time for start and end; after that everything is killed. With streams the end waits for closes.
_AROUND_S: Final = 360.0
_AROUND_LIVE_S: Final = 900.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Runs two hosts of the service, the second one over Upstash's REST API, their "
        "stores and the simulated exchanges, and injects random faults: exchanges that fail, send "
        "wrong data and ban; processes killed and paused; Redis and PostgreSQL restarted, paused, "
        "full, read-only; clients that misbehave; streams, the processes of both hosts that feed "
        "them, the network. Timeframes are asked for one by one and all at once, in shares that "
        "the seed draws. Meanwhile readers poll every document and "
        "compare each version, row by row, with the exchanges' true data. Everything runs on this "
        "machine, in a temporary folder, and ends with the run.",
        epilog="The same seed gives the same plan. Exit code: 0 without violations, 1 with some, "
        "2 if the run failed.",
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the plan of faults (random, and printed)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=_SECONDS,
        help="how long faults are injected, without start and end (%(default)g)",
    )
    parser.add_argument(
        "--mode", type=Mode, choices=tuple(Mode),
        help="what breaks: everything but streams, which are off (polling), streams and who feeds "
        "them, where markets must stay fresh (streams), or all of it (everything); drawn from the "
        "seed unless it is given",
    )  # fmt: skip
    parser.add_argument(
        "--logs", type=Path, help="keep the logs of all processes in this folder", metavar="DIR"
    )
    parser.add_argument("--plan", action="store_true", help="print the plan of faults and exit")
    parser.add_argument("--quiet", action="store_true", help="print only the summary")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not _FEWEST_S <= arguments.seconds <= _MOST_S:
        parser.error(f"--seconds must be {_FEWEST_S:g} to {_MOST_S:g}")
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    plan = draw_plan(seed, arguments.seconds, arguments.mode)
    if arguments.plan or not arguments.quiet:
        _print(
            f"chaos: seed {seed}, mode {plan.mode}, {len(plan.steps)} faults in {plan.seconds:g} s:"
        )
        for step in plan.steps:
            _print(str(step))
    if arguments.plan:
        return 0
    return _run(plan, arguments.logs, quiet=arguments.quiet)


def _run(plan: Plan, logs: Path | None, *, quiet: bool) -> int:
    began = time.monotonic()
    report = ViolationReport(on_violation=_print_violation)
    # The product's modules log the starts of the stores' servers at INFO.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    def keep_logs(folder: Path) -> None:
        if logs is not None:
            logs.mkdir(parents=True, exist_ok=True)
            for log in [*folder.glob("*.log"), *folder.glob("stores/*.log")]:
                shutil.copy(log, logs / log.name)

    around_s = _AROUND_LIVE_S if plan.live else _AROUND_S
    overdue = threading.Timer(plan.seconds + around_s, _end_by_force)
    overdue.daemon = True
    overdue.start()
    say = (lambda line: None) if quiet else _print
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(run_plan(plan, report, say, keep_logs)))
    except DeploymentFailed as error:
        _print(f"chaos: {error}")
        code = 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        _print("chaos: interrupted; nothing is left running")
        code = 130
    except Exception:
        traceback.print_exc()
        _print("chaos: an error in the test harness; see above")
        code = 2
    finally:
        overdue.cancel()
    _print(summary(plan, report, time.monotonic() - began))
    if not quiet or report.violated:
        options = f"--seed {plan.seed} --seconds {plan.seconds:g} --mode {plan.mode}"
        _print(f'to repeat: make chaos CHAOS="{options}"')
    return code or (1 if report.violated else 0)


async def _until_signal(run: Coroutine[Any, Any, None]) -> None:
    """Stops everything in order on SIGINT, SIGTERM and SIGHUP; SIGUSR1 prints all tasks."""
    task = asyncio.create_task(run)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    loop.add_signal_handler(signal.SIGUSR1, _print_tasks)
    await task


def _print_tasks() -> None:
    """Prints the stacks of all tasks, to show why a run hangs."""
    for task in asyncio.all_tasks():
        sys.stderr.write(f"--- {task.get_name()}\n")
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def _print_violation(violation: Violation) -> None:
    sys.stderr.write(f"VIOLATION {violation}\n")
    sys.stderr.flush()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_by_force() -> None:
    """Kills everything that a hanging run started, and exits."""
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(1)
    _print("chaos: the run exceeded its time limit; killing its processes")
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(2)


if __name__ == "__main__":
    sys.exit(main())
