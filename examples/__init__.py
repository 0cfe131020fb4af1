"""An example project, and the programs behind ``make demo`` and ``make dev``."""
