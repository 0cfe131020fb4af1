"""Trace column lineage: the source columns of each column of a task, from its SQL. Imported by steps and commands, not at load."""
