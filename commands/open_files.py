"""How many files and sockets this process may have open: as many as it is allowed to ask for."""

import contextlib

# What is asked for where nobody set a limit, or where the limit that is told is not the real one.
_ENOUGH = (1_048_576, 65_536, 10_240)


def raise_open_file_limit() -> int:
    """Raises the soft limit to the hard one; returns what it is then. Children inherit it."""
    try:
        import resource
    except ImportError:  # Windows: there is no such limit
        return _ENOUGH[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    for wanted in (hard,) if hard != endless else _ENOUGH:
        if soft == endless or soft >= wanted:
            break
        # macOS says that there is no limit and refuses more than its own.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _ENOUGH[0] if soft == endless else soft
