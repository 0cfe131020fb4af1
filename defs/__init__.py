"""Components of this repository's code location: the example project, or the one that ``SL_ROOT`` names."""
