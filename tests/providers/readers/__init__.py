"""Tests of providers.readers: answers as providers write them, and their errors."""
