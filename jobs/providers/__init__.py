"""What providers tell, asked for, kept and told about: the composition of providers/ with the
database, for jobs, for the API and for users' own code."""
