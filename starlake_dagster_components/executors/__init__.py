"""Executors run commands. Each is in its own module, which is imported on first use."""
