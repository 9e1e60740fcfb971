"""HookedTransformer is tested where it exists."""

from tests.hooked_transformers import ARCHITECTURES

collect_ignore = [] if ARCHITECTURES else ["test_hooked_transformer.py"]
