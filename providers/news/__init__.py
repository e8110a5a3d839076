"""News: one list of stories from many feeds, in plain text, each story once."""
