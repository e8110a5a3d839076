"""What may be asked of whom and when, and the HTTP client that keeps to it."""
