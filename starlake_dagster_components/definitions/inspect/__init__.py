"""Describe definitions: why each of them exists, and what will be built."""
