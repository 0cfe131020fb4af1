"""Read Starlake's reports about a command: its output, its log of a load, its audit tables."""
