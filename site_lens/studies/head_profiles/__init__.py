"""Head profiles: what the heads of a task attend to and copy."""
