"""GET /cache/<name>: what is asked for, what is at hand, who waits."""
