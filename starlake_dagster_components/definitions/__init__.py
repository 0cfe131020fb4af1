"""Define Dagster assets, checks, jobs, schedules, and sensors for a planned project."""
