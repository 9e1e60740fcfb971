"""House-keeping: one version, targets that say what they do, templates that can be read."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import site_lens as sl
from tests.documents import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_version_stands_in_one_place_and_the_citation_agrees() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "site_lens/_version.py"
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited == sl.__version__


def test_every_target_says_what_it_does() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    described = set(re.findall(r"^([a-z0-9-]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert set(phony.split()) == described


REPAIRED = {
    "transformers": ("5.3.0", "CVE-2026-4372: a config.json runs code of the hub without trust_remote_code"),
    "torch": ("2.10.0", "CVE-2026-24747: torch.load(weights_only=True) corrupts memory"),
    "pyarrow": ("23.0.1", "CVE-2026-25087: use after free"),
    "jinja2": ("3.1.6", "CVE-2025-27516: a template leaves its sandbox"),
    "tqdm": ("4.66.3", "CVE-2024-34062: arguments of its command line are run"),
    "filelock": ("3.20.3", "CVE-2025-68146, CVE-2026-22701: a link in place of a lock is followed"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206: training data stay in an attribute"),
    "pydantic": ("2.4.0", "CVE-2024-3772: an e-mail address takes for ever"),
    "numpy": ("1.22.0", "CVE-2021-34141: comparisons of types"),
    "voila": ("0.5.6", "CVE-2024-30265: any file of the machine is served"),
    "jupyter-server": ("2.18.0", "CVE-2026-40110, CVE-2026-35397: other origins, other folders"),
    "jupyter-core": ("5.8.1", "CVE-2025-30167: settings of other users (Windows)"),
    "nbconvert": ("7.17.0", "CVE-2025-53000: a program of the working folder is run (Windows)"),
    "tornado": ("6.5.5", "CVE-2026-31958: a request takes for ever"),
    "ray": ("2.54.0", "CVE-2025-62593, CVE-2026-27482: pages of elsewhere reach the dashboard"),
    "jupyterlab": ("4.4.8", "CVE-2025-59842: links keep a hold of the page"),
    "pytest": ("9.0.3", "CVE-2025-71176: folders of a known name"),
}
"""The first version without the vulnerabilities that are known, and the last of them."""


def asked_for() -> dict[str, str]:
    """Return the lowest version that each package may have, by its name in small letters."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return {found[1].lower(): found[2] for one in said if (found := re.match(r"([\w-]+)>=([\d.]+)", one))}


IMPORTED_AS = {"scikit-learn": "sklearn", "pydantic": "pydantic pydantic_core"}
"""Modules of packages that are not called like them; pydantic pins its core."""
THROUGH_VOILA = {"ipykernel", "jupyter_server", "jupyter_core", "nbconvert"}
"""Packages that voila runs, bounded because of vulnerabilities."""
NOT_IMPORTED = {"accelerate", "bitsandbytes", "circuitsvis"}
"""Packages that transformers imports for device maps and quantized weights, and one whose script is read as a file."""


def test_every_package_that_is_imported_is_declared_and_every_declared_one_is_imported() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "site_lens").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    imported = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"site_lens"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for_users = [line for extra in extras.keys() - {"test", "docs", "dev"} for line in extras[extra]]
    declared = {re.split(r"[\[>]", line)[0].lower() for line in [*project["dependencies"], *for_users]}
    modules = {module for name in declared for module in IMPORTED_AS.get(name, name.replace("-", "_")).split()}
    assert imported - modules == set()
    assert modules - imported - NOT_IMPORTED - THROUGH_VOILA == set()


def test_the_oldest_versions_that_ci_installs_are_the_lower_bounds_of_pyproject() -> None:
    program = [sys.executable, ".ci/lowest_versions.py"]
    lowest = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8") == lowest
    assert {"torch==2.10", "numpy==1.26", "ray==2.54"} <= set(lowest.splitlines())


def test_no_version_with_a_known_vulnerability_is_let_in_and_the_tests_ran_with_one_that_is() -> None:
    lowest = asked_for()
    assert len(lowest) > len(REPAIRED)
    for package, (repaired, why) in REPAIRED.items():
        assert Version(lowest[package]) >= Version(repaired), (package, why)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    for package, version in lowest.items():
        if package in pinned:
            assert Version(pinned[package]) >= Version(version), package
    assert len(set(REPAIRED) & set(pinned)) == len(REPAIRED)


MAY_DO = {
    "ci.yml": [],
    "docs.yml": [{"pages": "write", "id-token": "write"}],
    "publish.yml": [{"id-token": "write"}],
}
"""What single jobs of a workflow may do beside reading the repository."""


def test_the_workflows_run_what_was_reviewed_and_may_do_no_more_than_they_need() -> None:
    paths = {path.name: path for path in (ROOT / ".github/workflows").iterdir()}
    assert paths.keys() == MAY_DO.keys()
    for name, path in paths.items():
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"uses: (\S+)", text)
        assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one) for one in used), name
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}, name
        jobs = workflow["jobs"].values()
        assert [job["permissions"] for job in jobs if "permissions" in job] == MAY_DO[name], name
        targets = re.findall(r"run: (?:.*\b)?make ([a-z-]+)", text)
        assert set(targets) <= set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE)), name


def release(folder: Path, *, version: str = "1.2.3", cited: str = "1.2.3", heading: str = "1.2.3 (2026-01-31)") -> Path:
    """Write the files of a repository that name its version."""
    (folder / "site_lens").mkdir()
    (folder / "site_lens/_version.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    (folder / "CITATION.cff").write_text(f"cff-version: 1.2.0\nversion: {cited}\n", encoding="utf-8")
    (folder / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {heading}\n\n- Cats.\n\n## 0.9.0 (2025-01-01)\n", encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    ("tag", "files", "wrong"),
    [
        ("v1.2.3", {}, []),
        ("v1.2.4", {}, ["_version.py", "CITATION.cff", "CHANGELOG.md"]),
        ("1.2.3", {}, ["does not begin with v"]),
        ("v1.2.3", {"cited": "1.2.2"}, ["CITATION.cff"]),
        ("v1.2.3", {"heading": "1.2.3"}, ["CHANGELOG.md"]),
        ("v1.2.3", {"heading": "Unreleased"}, ["CHANGELOG.md", "Unreleased"]),
    ],
)
def test_a_release_needs_a_tag_a_citation_and_a_changelog_of_its_version(
    tag: str, files: dict[str, str], wrong: list[str], tmp_path: Path
) -> None:
    program = runpy.run_path(str(ROOT / ".ci/check_release.py"))
    found = program["disagreements"](tag, release(tmp_path, **files))
    assert len(found) == len(wrong)
    assert all(part in line for part, line in zip(wrong, found, strict=True))


def test_every_skip_is_listed() -> None:
    listed = (ROOT / "tests/SKIPS.md").read_text(encoding="utf-8")
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__) and re.search(
            r"skipif\(|pytest\.skip\(|importorskip\(", path.read_text(encoding="utf-8")
        ):
            assert f"`{path.relative_to(ROOT / 'tests')}`" in listed, path
