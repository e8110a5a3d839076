"""Files of Binance's public archive: what their names say, and the rows that they hold; no SQL."""
