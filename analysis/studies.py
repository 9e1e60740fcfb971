"""Run studies: one, or all in order, on the demo model or on a real one.

    python -m analysis.studies
    python -m analysis.studies --only 01_single_task 05_transfer --model path/to/model --tasks path/to/tasks57
    python -m analysis.05_transfer --model path/to/model --tasks path/to/tasks57

Records go to runs/studies/<model>/, what each study found to its `results/`, figures to its `figures/`. What is there
and made of the same model, tasks, numbers and code is read, not made again. With `--pages` what each study found is
kept in docs/results/data/<model>/, too, and the page is written of all that is kept there.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, get_args

import plotly.graph_objects as go

import site_lens as sl
from analysis.lab import DType, Lab
from analysis.result_pages import write_pages, write_smollm2_page
from analysis.results import Findings, Result
from analysis.settings import STUDIES_TOML, Settings
from site_lens.records.assets import DEMO, MODEL_NAMES
from site_lens.records.hashing import digest_bytes
from site_lens.records.outputs import write_whole

STUDIES = (
    "01_single_task", "02_prompt_count", "03_swapped_alphas", "04_methods", "05_transfer", "06_head_clusters",
    "07_convergence", "08_prompt_sensitivity", "09_head_roles", "10_soft_hard", "11_faithfulness", "12_content",
    "13_choices",
)  # fmt: skip


PAGES = Path("docs/results")


class Study(Protocol):
    """A study's module."""

    QUESTION: str
    REPORTED: str
    study: Callable[[Lab], Findings]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=_study, default=STUDIES, metavar="STUDY", help="such as 05")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--demo", action="store_true", help="the demo model and its tasks, which is the default")
    where.add_argument("--model", help="'smollm2', a Hugging Face folder, a GGUF file or a hub id")
    parser.add_argument("--tasks", help="a folder of tasks, or 'demo'; with --model")
    parser.add_argument("--settings", type=Path, default=STUDIES_TOML, help="numbers to use instead of studies.toml")
    parser.add_argument("--out", type=Path, default=Path("runs/studies"))
    parser.add_argument("--dtype", choices=get_args(DType), help="the checkpoint's own when left out")
    parser.add_argument("--device")
    parser.add_argument("--no-figures", action="store_true", help="draw none, which takes a browser")
    parser.add_argument("--pages", action="store_true", help="write what came out to docs/results")
    chosen = parser.parse_args(arguments)
    if chosen.tasks is None and chosen.model is not None:
        parser.error("--model needs --tasks, a folder of tasks for it, or --tasks demo")
    model = chosen.model or DEMO
    if chosen.pages and model not in MODEL_NAMES:
        parser.error(f"--pages writes what came out on {' or '.join(MODEL_NAMES)}; leave it out with --model {model}")
    lab = Lab(
        Settings.read(chosen.settings),
        model=model,
        tasks=chosen.tasks or DEMO,
        out=chosen.out / Path(model).name,
        dtype=chosen.dtype,
        device=chosen.device,
    )
    data = PAGES / "data" / model
    for name in chosen.only:
        found, figures = run_study(name, lab)
        found.save(lab.out / "results" / f"{name}.json")
        if chosen.pages:
            found.save(data / f"{name}.json")
        if not chosen.no_figures:
            draw(figures, lab.out / "figures")
        show(found)
    if not chosen.pages:
        return
    results, drawn = [last_result(name, lab, data) for name in STUDIES], lab.out / "figures"
    if model == DEMO:
        write_pages(results, drawn, PAGES, Path("analysis/README.md"))
    else:
        write_smollm2_page([one for one in results if one.claims], drawn, PAGES)


def _study(name: str) -> str:
    """Find a study by the beginning of its name."""
    found = [one for one in STUDIES if one.startswith(name)]
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"no study {name!r}; there are {', '.join(STUDIES)}")
    return found[0]


def run_study(name: str, lab: Lab) -> tuple[Result, dict[str, go.Figure]]:
    """Run one study; return what it found, and its figures by the names of their files."""
    lab.start()
    found = module_of(name).study(lab)
    named = {f"{name}-{short}": shown for short, shown in found.figures.items()}
    result = empty_result(name, lab).replace(
        tasks=tuple(dict.fromkeys(found.tasks)),
        claims=tuple(found.claims),
        tables=tuple(found.tables),
        figures={file: caption for file, (caption, _) in named.items()},
        made_of=lab.parts(),
    )
    return result, {file: figure for file, (_, figure) in named.items()}


def module_of(name: str) -> Study:
    """Import the module of a study, whose name no import statement can spell."""
    return cast(Study, import_module(f"analysis.{name}"))


def empty_result(name: str, lab: Lab) -> Result:
    """Return what is known of a study before it has run."""
    module = module_of(name)
    return Result(study=name, question=module.QUESTION, reported=module.REPORTED, model=lab.model_name)


def last_result(name: str, lab: Lab, folder: Path) -> Result:
    """Read what a study found when it last ran, as it is kept beside the pages, else below `runs`, else nothing."""
    places = [place / f"{name}.json" for place in (folder, lab.out / "results")]
    return next((Result.load(path) for path in places if path.exists()), empty_result(name, lab))


def draw(figures: dict[str, go.Figure], folder: Path) -> None:
    """Draw figures as SVG; one that has not changed is left alone."""
    for name, figure in figures.items():
        path, mark = folder / f"{name}.svg", folder / f"{name}.key"
        key = digest_bytes(figure.to_json().encode()).encode()
        if not (path.exists() and mark.exists() and mark.read_bytes() == key):
            sl.write_image(figure, path)
            write_whole({mark: key})


def show(found: Result) -> None:
    """Print the claims of a study with their verdicts."""
    print(f"{found.study}  {found.question}")
    for claim in found.claims:
        estimate = "" if claim.value is None else f"  {claim.value:.3f} [{claim.low:.3f}, {claim.high:.3f}]"
        print(f"  {claim.verdict}: {claim.statement}{estimate}")
    sys.stdout.flush()


def run_this(file: str) -> None:
    """Run the study of a file from the command line."""
    main(["--only", Path(file).stem, *sys.argv[1:]])


if __name__ == "__main__":
    main()
