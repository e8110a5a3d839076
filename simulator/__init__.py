"""Exchanges on this machine: each answers as the real one does, all on one port.

The simulator is written from the exchanges' documentation alone. It imports nothing of the
product and keeps its own constants and types, so that the two can check each other.
"""
