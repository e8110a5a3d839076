"""What `make bench` runs: Perpcache side by side with something that is known."""
