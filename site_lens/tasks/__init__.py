"""Tasks: rows and splits, file formats, prompt templates, prompt sampling, answer matching."""
