"""Ablation study: what each choice of a SITE fit is worth."""
