"""Live data from the exchanges' WebSockets: candles for the base, and the collector framework."""
