"""A code location with the jobs of table_jobs, from environment variables."""

import os

import table_jobs

defs = table_jobs.load_definitions(os.environ["TABLES_PROJECT"], os.environ["TABLES_COMMANDS"], os.environ["TABLES_STEPS"])
