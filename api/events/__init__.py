"""GET /events: what happens, told as server-sent events, from a log in the hot store."""
