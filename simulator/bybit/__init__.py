"""Bybit v5 linear: all that the simulator knows of this one exchange."""
