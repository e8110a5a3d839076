"""The clock, and pauses: growing ones between retries, and ones that a stop event ends."""
