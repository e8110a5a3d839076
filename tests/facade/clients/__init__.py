"""Programs that ask with other people's clients, each in an environment that has them."""
