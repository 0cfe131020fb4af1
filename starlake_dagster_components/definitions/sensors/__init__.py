"""Sensors: when what a job reads has been materialized, its run is requested."""
