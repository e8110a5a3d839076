"""The JSON documents: their names, how they are built, read back and cut."""
