"""The exchanges' own addresses: what bots ask an exchange for, answered here or asked for them."""
