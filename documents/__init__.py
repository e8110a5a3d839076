"""The JSON documents: their names, how they are built, read, filtered and compressed."""
