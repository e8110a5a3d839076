"""The errors that end an export; their texts are what the user reads."""


class ExportError(Exception):
    """The export cannot be made as it was asked for, or could not be ended."""


class FolderInUse(ExportError):
    """Another export writes into the folder now."""
