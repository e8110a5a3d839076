"""The simulator: the exchanges imitated on one local port, for tests, demos and benchmarks.

It is written from the exchanges' documentation alone. It imports nothing of the product and has its
own constants and types, so that the two check each other.
"""
