"""Studies that need a model and several tasks."""
