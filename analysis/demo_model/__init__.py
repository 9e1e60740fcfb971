"""The recipe behind the embedded demo: its words, its tasks, and how they are written to the assets."""
