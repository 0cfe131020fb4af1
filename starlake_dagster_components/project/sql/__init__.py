"""Read the SQL of tasks: its sections, and the tables that it reads."""
