"""Whales: great transfers, found by us in the blocks of chains and priced by our prices."""
