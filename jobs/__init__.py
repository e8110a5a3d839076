"""The work of each kind of job: collection, funding refresh and market discovery."""
