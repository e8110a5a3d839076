"""The prefix of all keys in the hot store: REDIS_PREFIX, added to the keys of each command."""

from typing import Final

from stores.hot.store import Word

_FIRST_WORD: Final = frozenset(("GET", "SET", "GETRANGE", "HGETALL", "SMEMBERS", "SREM"))
_ALL_WORDS: Final = frozenset(("MGET", "UNLINK"))
_SCRIPTS: Final = frozenset(("EVAL", "EVALSHA"))
_WITHOUT_KEYS: Final = frozenset(("INFO",))


def with_prefix(prefix: str, command: tuple[Word, ...]) -> tuple[Word, ...]:
    """The command with `prefix` before each of its keys.

    Raises ValueError for a command whose keys are not known here, so that none goes without.
    """
    if not prefix:
        return command
    name = str(command[0]).upper()
    if name in _FIRST_WORD:
        first, last = 1, 2
    elif name in _ALL_WORDS:
        first, last = 1, len(command)
    elif name in _SCRIPTS:
        first, last = 3, 3 + int(command[2])
    elif name in _WITHOUT_KEYS:
        return command
    else:
        raise ValueError(
            f"which words of {name} are keys is not known: add it to stores/hot/keys.py"
        )
    keys = (
        prefix + (key.decode() if isinstance(key, bytes) else str(key))
        for key in command[first:last]
    )
    return (*command[:first], *keys, *command[last:])
