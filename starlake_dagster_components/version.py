"""Version of the package; the build and the release workflow read it here."""

__version__ = "0.1.0"
