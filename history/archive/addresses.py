"""Where the archive is asked for files and listings, for an installation's settings."""

from config import Settings
from history.archive.download_errors import DownloadError
from market.markets import ARCHIVED, LIVE_ADDRESSES, LIVE_ARCHIVE, LIVE_ARCHIVE_LISTING


class MixedAddresses(DownloadError):
    """The archive is another exchange's than the one that is collected from."""


def archive_addresses(settings: Settings) -> tuple[str, str]:
    """The address of files, and that of listings. Raises MixedAddresses if the archive is the live
    one and the exchange is not: simulated and live data must not mix."""
    url = settings.archive_url
    collected_from = settings.base_url(ARCHIVED) or LIVE_ADDRESSES[ARCHIVED]
    is_live = url in (LIVE_ARCHIVE, LIVE_ARCHIVE_LISTING)
    if is_live and collected_from != LIVE_ADDRESSES[ARCHIVED]:
        raise MixedAddresses(
            "BINANCE_BASE_URL is not the live exchange, and ARCHIVE_URL is the live archive: set"
            " ARCHIVE_URL to that server's archive, such as the simulator's own address"
        )
    if settings.archive_listing_url is not None:
        return url, settings.archive_listing_url
    return url, LIVE_ARCHIVE_LISTING if is_live else url
