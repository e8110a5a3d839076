"""The JSON documents: their names, how they are built, read back, cut and compressed."""
