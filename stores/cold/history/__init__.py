"""The record of all values and of when each was known; only database.py hands it to others."""
