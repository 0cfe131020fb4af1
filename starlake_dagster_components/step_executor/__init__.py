"""Execute the steps of a run in threads of its process (see docs/steps.md)."""
