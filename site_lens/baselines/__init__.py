"""Other ways to put a task into a model: each takes a workbench and a task's name, and returns a `Method`."""
