"""SITE: configuration, plan, optimizer, fits, control embeddings, and files of the published code."""
