"""Split the SQL of tasks into sections, and find the tables that it reads."""
