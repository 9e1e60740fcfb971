"""Find which attention heads carry a task, on TransformerLens models."""

__version__ = "0.1.0"
