"""Reports: records in, one HTML file out that opens anywhere, offline, without torch or a model; images and tables.

The names are listed in `__init__.pyi`; each is imported when it is first used.
"""

from site_lens._public import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
