"""The only door to TransformerLens: one small protocol, and the models that fit it."""
