"""A real Starlake project of our own, and the two programs that show it."""
