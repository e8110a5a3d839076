"""What providers tell: asked for, kept, and told about, for jobs, API and users' own code."""
