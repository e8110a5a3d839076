"""Tests of notify/, with a real HTTP receiver."""
