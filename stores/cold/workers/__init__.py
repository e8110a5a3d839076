<<<<<<< HEAD
"""The tables of workers: their rows, queues, runs, configuration and log."""
=======
"""The tables of workers: their rows, runs, queues, configuration and log."""
>>>>>>> f9abd89 (Read workers' configuration from their rows, shared rows, the environment and defaults)
