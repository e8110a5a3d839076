"""Mutants that are known to change nothing that anyone could notice, each with the reason."""

from collections.abc import Mapping
from typing import Final

EQUIVALENT: Final[Mapping[str, str]] = {}
