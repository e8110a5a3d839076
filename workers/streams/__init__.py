"""WebSocket workers: leases of the hot store, one per worker, that all processes share out."""
