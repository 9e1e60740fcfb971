"""What is published: sdist and wheel hold what they must, and the wheel runs where nothing of this folder is."""

import ast
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import site_lens as sl
from tests.documents import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path) -> str:
    """Run a command that knows nothing of this folder and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built out of it."""
    out = tmp_path_factory.mktemp("dist")
    # Without hatchling here, `build` fetches it into an environment of its own.
    isolation = ["--no-isolation"] if find_spec("hatchling") else []
    run(sys.executable, "-m", "build", *isolation, "--outdir", out, ROOT, folder=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a clean environment with the wheel; its dependencies are those of the environment that tests."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (wheel,) = built.glob("*.whl")
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    # A path in a .pth file is only searched, after the wheel: an editable install of this folder does not come with it.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_the_package_with_its_assets_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"site_lens-{sl.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"site_lens", f"site_lens-{sl.__version__}.dist-info"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "site_lens").rglob("*.py")}
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "site_lens/assets").rglob("*") if path.is_file()}
    assert sources | assets | {"site_lens/py.typed"} <= set(names)
    assert wheel.stat().st_size < 12e6


def test_the_sdist_holds_what_is_tested_and_nothing_that_was_built(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "pyproject.toml", "tests/conftest.py", "docs/index.md"} <= names
    assert not [name for name in names if name.startswith((".venv", "runs/", "build/", "dist/", ".git/"))]


def test_the_installed_command_goes_from_the_demo_to_a_report(installed: Path, tmp_path: Path) -> None:
    assert "demo" in run(installed / "site-lens", "--help", folder=tmp_path)
    run(installed / "site-lens", "demo", "--n-tasks", "1", "--out", "runs/demo", folder=tmp_path)
    assert "runs/demo/report.html" in run(installed / "site-lens", folder=tmp_path)
    assert (tmp_path / "runs/demo/report.html").stat().st_size > 1e6


def test_the_installed_package_has_what_the_notebooks_import(installed: Path, tmp_path: Path) -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "notebooks").glob("*.py"))]
    imports = {
        ast.unparse(node) for tree in trees for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert "import site_lens as sl" in imports
    run(installed / "python", "-W", "error", "-c", "\n".join(sorted(imports)), folder=tmp_path)
