"""Capture, patch, evaluate and generate at hook_z."""
