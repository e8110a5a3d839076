"""The job queue in the hot store: job kinds, job records, and the scripts that change them."""
