"""Tests of texts/: escapes and hidden secrets."""
