"""Row 8: how long people wait before anything happens."""

import subprocess
import sys
import tempfile
from pathlib import Path

import site_lens as sl
from analysis.benchmarks.measuring import Result, alone, seconds
from analysis.benchmarks.settings import Settings

N_TASKS = 16
WITHOUT_TORCH = """
import sys
from site_lens.cli.commands import app
app({!r}, standalone_mode=False)
assert "torch" not in sys.modules
"""


def measure(settings: Settings) -> list[Result]:
    """Time fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = list(sl.sample_tasks(sl.load_tasks("demo").values(), N_TASKS, seed=0).values())
        sl.fit_and_evaluate(sl.load_model("demo"), tasks, sl.SiteConfig(n_steps=20), save_to=folder, max_queries=20)
        report = WITHOUT_TORCH.format(["report", folder, "--out", str(Path(folder) / "r.html")])
        asked = (
            ("import site_lens", ["-c", "import site_lens"], 0.2),
            ("site-lens --help", ["-m", "site_lens.cli", "--help"], 0.7),
            (f"site-lens report, {N_TASKS} saved fits, torch not loaded", ["-c", report], 5.0),
        )
        return [alone(8, what, "s", fresh(arguments, settings.pairs), target) for what, arguments, target in asked]


def fresh(arguments: list[str], n: int) -> list[float]:
    """Run the interpreter n times, once more before that; seconds, its own start included."""
    command = [sys.executable, *arguments]
    return [seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(n + 1)][1:]
