"""Control over HTTP: /api/workers, /api/runs, /api/config, /api/queues, /api/worker, /console."""
