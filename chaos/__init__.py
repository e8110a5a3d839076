"""`make chaos`: the whole service, its stores and the simulated exchanges, broken at random."""
