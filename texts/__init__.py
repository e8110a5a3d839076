"""Text on its way out: unprintable characters as escapes, and secrets hidden."""
