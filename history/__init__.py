"""The record of all that was collected: how it is read, and what was known when."""
