"""Jinja with the rules of Jinjava, HubSpot's Jinja for Java, with which Starlake renders its files."""
