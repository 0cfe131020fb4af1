"""Fixtures of the tests of the step executor."""

from step_fixtures import home, instance, start, work

__all__ = ["home", "instance", "start", "work"]
