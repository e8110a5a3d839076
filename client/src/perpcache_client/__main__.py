"""`python -m perpcache_client` is `perpcache-client`."""

import sys

from perpcache_client.command import main

if __name__ == "__main__":
    sys.exit(main())
