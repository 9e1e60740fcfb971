"""Task arithmetic study: two tasks at once."""
