"""Describe definitions: the definitions that will be built, and the reason for each."""
