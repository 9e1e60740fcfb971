"""Text profiles: what heads do on broad text, beyond a task."""
