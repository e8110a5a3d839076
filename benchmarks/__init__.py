"""`make bench`: compares Perpcache's serving and collecting with well-known programs."""
