"""Records and their files: base class, serialization, hashing, errors, limits of what is read and written."""
