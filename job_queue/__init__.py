"""One record per job in the hot store, moved only by scripts that check the lease."""
