"""Content controls: what the task embedding contributes beyond the gates."""
