"""Sweeps: models x tasks x templates x settings x seeds, computed where there is room and kept in a run store."""
