"""Executors that run commands on this machine."""
