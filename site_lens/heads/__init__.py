"""Attention heads: one head, grids, sets, scores and gates."""
