"""Collectors of a file, controlled over HTTP; each is run by one process of the installation."""
