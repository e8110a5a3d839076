"""Declarations of workers: what decorators have found in modules so far, mistakes and all."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from workers.definition import WorkerDefinition


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """One use of a decorator: where it stands (file:line), in which module, and the worker or the
    database that it declares, or what is wrong with it."""

    place: str
    module: str
    definition: WorkerDefinition | None
    mistakes: tuple[str, ...] = ()
    database: Any = None  # of @database: workers.databases.declaration.DatabaseDefinition


# In the order of declaration. Nothing is started by it: workers/registry.py takes what it needs.
DECLARED: Final[list[Declaration]] = []


def forget_gone_modules() -> None:
    """Drops the declarations of modules that are no longer loaded, which will declare them anew."""
    DECLARED[:] = [found for found in DECLARED if found.module in sys.modules]


def place_of(frame: FrameType) -> str:
    """file:line of the code that runs in the frame; from the working directory on if it is there.
    The line of a decorator is the one that it begins on."""
    file = Path(frame.f_code.co_filename)
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the working directory is gone
        file = file.relative_to(Path.cwd())
    return f"{file}:{frame.f_lineno}"
