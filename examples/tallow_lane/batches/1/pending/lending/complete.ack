3 files for 2026-09-27
