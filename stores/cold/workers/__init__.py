"""The tables of workers: their rows, queues, runs, configuration and log."""
