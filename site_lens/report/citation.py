"""Citation of the paper and of the software, as in `CITATION.cff`."""

from site_lens._version import __version__

BIBTEX = f"""@inproceedings{{park2026soft,
  title     = {{Soft Head Selection for Injecting {{ICL}}-Derived Task Embeddings}},
  author    = {{Park and Kim, Jimyeong and Choi, Changin and Rhee}},
  booktitle = {{Findings of the Association for Computational Linguistics: ACL 2026}},
  year      = {{2026}},
  pages     = {{27161--27214}},
  note      = {{arXiv:2507.20906}}
}}

@software{{site_lens,
  title   = {{site\\_lens}},
  author  = {{{{The site\\_lens developers}}}},
  version = {{{__version__}}},
  license = {{MIT}}
}}"""
