"""Describe definitions: why each exists, and what will be built."""
