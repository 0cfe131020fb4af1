"""DEFINE: a planned project becomes Dagster assets, checks, jobs, schedules and sensors."""
