"""Figures: one function a plot, one record in, one plotly Figure out; no model, no torch, no file.

The plots and their modules are listed in `__init__.pyi`; each is imported when it is first used.
"""

from site_lens._public import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
