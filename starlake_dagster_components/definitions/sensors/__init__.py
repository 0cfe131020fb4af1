"""Sensors that request a run of a job when the job's inputs have been materialized."""
