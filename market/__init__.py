"""The field's words and arithmetic: timeframes, markets, rows, candles. Plain data, no I/O."""
