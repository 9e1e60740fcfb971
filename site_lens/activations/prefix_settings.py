"""Settings of the KV cache of prompt prefixes: number format and memory budget."""

from typing import Literal

PrefixDType = Literal["model", "bfloat16"]
"""Arithmetic in which the keys and values of queries are computed: that of the model, or bfloat16, which takes half the
time on processors with matrix units for it and rounds to two or three digits. Steps are taken in the model's own."""

PREFIX_BUDGET = 2 * 2**30
"""Bytes of cached prefixes, by default: a prompt of 60 tokens takes 8 MB in an 8B model in bfloat16. The pool of a call
holds so much; queries that are answered again and again (`CachedQueries`) hold a copy of their own beside it."""
