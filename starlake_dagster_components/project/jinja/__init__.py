"""Render Jinja by the rules of Jinjava, HubSpot's Jinja for Java, which Starlake uses."""
