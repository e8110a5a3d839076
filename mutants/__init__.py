"""`make mutants`: changes the code in small ways, one by one, and lists what no test notices."""
