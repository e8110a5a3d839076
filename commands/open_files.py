"""The limit of open files and sockets: raised as far as this process is allowed to."""

import contextlib

# Tried in turn when the hard limit is infinite: macOS reports that, and refuses more than its own.
_ENOUGH = (1_048_576, 65_536, 10_240)


def raise_open_file_limit() -> int:
    """Raises the soft limit to the hard one and returns the new limit. Children inherit it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _ENOUGH[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    for wanted in (hard,) if hard != endless else _ENOUGH:
        if soft == endless or soft >= wanted:
            break
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _ENOUGH[0] if soft == endless else soft
