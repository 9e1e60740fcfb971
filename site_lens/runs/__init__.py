"""Runs: fits, controls, evaluations and studies of some tasks, made together and kept in one folder."""
