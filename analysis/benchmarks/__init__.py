"""Benchmarks: one question a file, each side measured beside the other. Run with `make bench`."""
