"""A simulated day: a close every five minutes with faults drawn, every document compared."""
