"""Steps: the commands that an op runs, and what their results become in Dagster."""
