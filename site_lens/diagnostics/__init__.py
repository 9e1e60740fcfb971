"""Readings of records: convergence, agreement, overlap, clusters, and the diagnosis of a run; no torch, no model."""
