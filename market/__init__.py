"""Shared types and arithmetic: timeframes, markets, rows, candles. Plain data, no I/O."""
