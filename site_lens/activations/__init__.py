"""Activations at hook_z: capture, edits, injection, prefill, cached queries, generation."""
