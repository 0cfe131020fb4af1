"""Column lineage: which columns each column of a task is made of, from its SQL. Imported by steps and the command line, never at load."""
