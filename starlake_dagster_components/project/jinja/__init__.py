"""Jinja with the rules of Jinjava, HubSpot's Jinja for Java, which is what Starlake renders its files with."""
