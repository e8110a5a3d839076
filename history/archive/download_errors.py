"""What goes wrong while files are downloaded from an archive.

DownloadError
├── NotThere         the archive has no such object: nothing to do
├── FileRefused      what came is not what it should be: this file is left out
├── HostAway         the archive cannot be reached, or fails again and again: try later
└── CannotKeep       the disk does not take what was downloaded: make room, or wait for another run
"""


class DownloadError(Exception):
    """The message says what was wrong and, where there is something, what to do."""


class NotThere(DownloadError):
    """The archive answers 404."""


class FileRefused(DownloadError):
    """An object that is not downloaded, or not kept."""


class HostAway(DownloadError):
    """After some tries."""


class CannotKeep(DownloadError):
    """The folder for downloads is full, cannot be written, or is in use."""
