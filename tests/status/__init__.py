"""Tests of the status room: what is found out, what is a problem, and that real faults are told."""
