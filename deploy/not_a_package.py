"""A build backend that refuses `pip install .` and says why."""

import sys

sys.exit(
    "Perpcache is a program, not a package: its modules have names such as config, main, worker "
    "and database, which would replace those of other projects in site-packages. Run it from its "
    "own folder, in an environment of its own: `make run`, or `make demo` to try it."
)
