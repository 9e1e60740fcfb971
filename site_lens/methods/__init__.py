"""Ways to make a model do a task, one file each; their registry, evaluation and comparison table."""
