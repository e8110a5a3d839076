"""The console of commands with a display: texts are printed as they are, and output may fail."""

import sys
from typing import Any, cast

from rich.console import Console as RichConsole

from commands.terminal import drop_output
from texts.printable import printable


class Console(RichConsole):
    """A rich console whose job goes on when its output fails: a full disk, or `| head`."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("file", cast(Any, _Tolerant(sys.stdout)))
        super().__init__(**options)

    def say(self, text: str) -> None:
        """Prints a line that may hold texts of others: no markup, no emoji, and no command for the
        terminal."""
        line = printable(text)
        self.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


class _Tolerant:
    """A stream that drops everything after its first failure."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not self._failed:
            try:
                self._stream.write(text)
            except OSError:
                self._fail()
        return len(text)

    def flush(self) -> None:
        if not self._failed:
            try:
                self._stream.flush()
            except OSError:
                self._fail()

    def _fail(self) -> None:
        self._failed = True
        drop_output()
