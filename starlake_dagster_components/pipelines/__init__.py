"""Plan a project: derive its pipelines, schedules, and dependencies as data, without Dagster."""
