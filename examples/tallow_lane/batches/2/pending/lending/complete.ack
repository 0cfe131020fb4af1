3 files for 2026-10-04
