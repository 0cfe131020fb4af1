"""Steps run the commands of an op, and report the results to Dagster."""
