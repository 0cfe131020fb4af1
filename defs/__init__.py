"""The components of this repository's code location: the example, or the project that ``SL_ROOT`` names."""
