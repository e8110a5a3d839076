"""`python -m simulator`: parses the command line and runs the server."""

import argparse
import sys

from simulator.command_line import DESCRIPTION, add_arguments, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
