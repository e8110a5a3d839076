"""When to act: the clock, waits that a stop ends, and pauses between tries."""
