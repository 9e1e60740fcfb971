"""Check that a tag, the version, the citation and the changelog name the same release.

    python .ci/check_release.py v0.2.0

prints what disagrees and ends with 1; prints nothing and ends with 0 where all is well.
"""

import re
import sys
from pathlib import Path


def disagreements(tag: str, root: Path) -> list[str]:
    """List what speaks against releasing the files of a repository under a tag."""

    def found(pattern: str, path: str) -> str | None:
        match = re.search(pattern, (root / path).read_text(encoding="utf-8"), re.MULTILINE)
        return match and match[1]

    version = tag.removeprefix("v")
    named = {
        "site_lens/_version.py": found(r'^__version__ = "(.+)"$', "site_lens/_version.py"),
        "CITATION.cff": found(r"^version: (.+)$", "CITATION.cff"),
        "CHANGELOG.md, its first heading": found(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", "CHANGELOG.md"),
    }
    wrong = [f"{place} has version {it}, the tag has {version}" for place, it in named.items() if it != version]
    if not tag.startswith("v"):
        wrong.insert(0, f"tag {tag!r} does not begin with v")
    if found(r"^## (Unreleased)", "CHANGELOG.md"):
        wrong.append("CHANGELOG.md has a section Unreleased; name it after the version, with the date")
    return wrong


if __name__ == "__main__":
    problems = disagreements(sys.argv[1], Path(__file__).parent.parent)
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.exit(bool(problems))
