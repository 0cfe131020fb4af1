"""Steps: run the commands of an op, and report their results to Dagster."""
