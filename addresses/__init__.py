"""Addresses in settings: every part is checked, and no message repeats what may be secret."""
