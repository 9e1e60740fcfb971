"""Hub folder: fits and evaluations as records, and a generated model card.

<folder>/README.md
<folder>/fits/<task>.json + .safetensors
<folder>/evaluations/<task>.json + .safetensors, and results.csv, where accuracies are given
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from site_lens._version import __version__
from site_lens.methods.evaluation import Evaluation, Evaluations
from site_lens.models.identity import ModelIdentity
from site_lens.records.assets import ASSETS
from site_lens.records.collections import manifests
from site_lens.records.errors import InputError, MismatchError, StorageError
from site_lens.records.limited_io import is_folder
from site_lens.records.outputs import check_output, named, sealed, write_output
from site_lens.records.serialization import record_paths
from site_lens.records.terminal_escape import visible
from site_lens.runs.run import Run
from site_lens.runs.run_folder import refuse_links, settle, whole
from site_lens.site.fit import SiteFit, SiteFits

CARD = "README.md"
RESULTS = "results.csv"
LIBRARY: dict[str, Any] = {"library_name": "site_lens", "library_version": __version__}
"""What the hub is told of who asks."""
DOWNLOADED = ["fits/*.json", "fits/*.safetensors"]
"""What of a repository is fetched to read its fits."""

TAGS = ["site", "in-context-learning", "task-embedding", "attention-heads", "interpretability"]
PROMPTED, FITTED = "zero_shot", ("site", "site_zero_embedding")
"""Methods whose accuracy the card shows, where it was measured, beside that of the few-shot prompting compared with."""


def save_for_hub(
    fits: SiteFits,
    folder: str | Path,
    *,
    evaluations: Evaluations | None = None,
    base_model: str | None = None,
    license: str | None = None,
    replace: bool = False,
) -> Path:
    """Write fits, their evaluations and a generated model card to a folder, in place of a run that is there.

    Args:
        fits: Fits of one model.
        folder: Where to write; `Run.load` reads it, too.
        evaluations: What was measured of them; the card shows it.
        base_model: Hub id of the model; the name under which it was loaded, where that is one.
        license: License of the fits, as the hub spells it (such as "mit"); the card names none when None.
        replace: Write over a `README.md` that is there, even if it was written or changed by others.

    Returns:
        The folder.

    Raises:
        InputError: There are no fits, or a task was evaluated and not fitted.
        MismatchError: The fits belong to different models.
        StorageError: The folder cannot be written, or holds files of others where these have to be.
    """
    folder = named(folder)
    model = _one_model(fits)
    strangers = sorted({*(evaluations or ())} - {fit.task for fit in fits.values()})
    if strangers:
        raise InputError(f"there is an evaluation of {strangers[0]!r}, but no fit of it; hand in what belongs together")
    card = _card(fits, evaluations, model, base_model or _hub_id(model.name), license)
    check_output([folder / CARD], replace=replace)
    Run(fits=fits, evaluations=evaluations).save(folder)
    write_output({folder / CARD: sealed(card.encode(), ".md")}, replace=replace)
    return folder


def push_to_hub(
    folder: str | Path, repo_id: str, *, private: bool | None = None, message: str = "Upload SITE fits"
) -> str:
    """Upload a folder of `save_for_hub` to a model repository of the Hugging Face hub, which is made if need be.

    Whoever calls must be logged in (`hf auth login`). Only the card, `results.csv` and records that can be read are
    uploaded, whatever else lies in the folder, and no file that a link leads to.

    Args:
        folder: The folder.
        repo_id: The repository, "user/name".
        private: Whether a new repository is private; what the account is set to when None.
        message: What the commit says.

    Returns:
        The address of the commit.

    Raises:
        StorageError: The folder is incomplete or damaged, or the hub refused.
        InputError: The repository's name cannot be one.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    files = _to_upload(folder)
    api = HfApi(**LIBRARY)
    with _hub_errors(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=files, commit_message=message)
    return str(done.commit_url)


def _to_upload(folder: Path) -> list[str]:
    """Return the files of a folder that belong to a run, as patterns below it."""
    refuse_links(folder)
    settle(folder)
    SiteFits.load(folder / "fits")
    if manifests(folder / "evaluations"):
        Evaluations.load(folder / "evaluations")
    if not (folder / CARD).is_file():
        raise StorageError(f"{folder} has no {CARD}; write it with save_for_hub")
    saved = [manifest for part in ("fits", "evaluations") for manifest in manifests(folder / part)]
    records = [path for manifest in saved for path in record_paths(manifest)]
    files = sorted([folder / CARD, *records, *([folder / RESULTS] if (folder / RESULTS).exists() else [])])
    if links := [path for path in files if path.is_symlink()]:
        raise StorageError(f"{links[0]} is a link, whose target may not belong on the hub; copy the file")
    return [escape(str(path.relative_to(folder))) for path in files]


def from_hub(source: str | Path, *, revision: str | None = None) -> SiteFits:
    """Read fits that `save_for_hub` wrote, from a folder or from a repository of the Hugging Face hub.

    Nothing that is read can run code, and every record is checked against its digests.

    Args:
        source: A folder, or "user/name".
        revision: Branch, tag or commit of the repository.

    Raises:
        StorageError: There are no fits, one of them is damaged, or the hub refused.
        InputError: The repository's name cannot be one.
    """
    folder = Path(source)
    if not is_folder(folder):
        from huggingface_hub import snapshot_download

        with _hub_errors(str(source)):
            snapshot = snapshot_download(str(source), revision=revision, allow_patterns=DOWNLOADED, **LIBRARY)
        folder = Path(str(snapshot))
    return SiteFits.load(whole(folder) / "fits")


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} is neither a folder nor the name of a repository, user/name: {error}") from error
    except OSError as error:  # every error of the hub and of the network is one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StorageError(f"the hub did not serve {repo_id!r}: {reason}") from error


def _one_model(fits: SiteFits) -> ModelIdentity:
    fits.one_grid()
    first, *others = (fit.embedding.model for fit in fits.values())
    for other in others:
        if (other.weights_digest, other.processing) != (first.weights_digest, first.processing):
            raise MismatchError(
                f"fits of {first.name} and of {other.name} (other weights) do not belong in one folder; save each alone"
            )
    return first


def _hub_id(name: str) -> str | None:
    """Return the name if it is a hub id: "user/name", and no folder that happens to be there."""
    return name if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) and not is_folder(name) else None


def _card(
    fits: SiteFits, evaluations: Evaluations | None, model: ModelIdentity, base_model: str | None, license: str | None
) -> str:
    from huggingface_hub import ModelCard, ModelCardData

    measured = Evaluations([]) if evaluations is None else evaluations
    prompted = dict.fromkeys([PROMPTED, *(evaluation.reference for evaluation in measured.values())])
    methods = [name for name in (*prompted, *FITTED) if name in measured.methods]
    prompts = {fit.template.instruction + fit.template.query_text("...") for fit in fits.values()}
    fences = [len(run) for prompt in prompts for run in re.findall("~+", prompt)]
    card = ModelCard.from_template(
        ModelCardData(base_model=base_model, library_name="site_lens", license=license, tags=TAGS),
        template_path=str(ASSETS / "model_card.md.j2"),
        version=__version__,
        cell=_cell,
        model=model,
        methods=methods,
        rows=[(fit, _measured(fit, measured.get(fit.task), methods, fits)) for fit in fits.values()],
        prompts=[visible(prompt, keep="\n") for prompt in sorted(prompts)],
        fence="~" * max(4, 1 + max(fences, default=0)),
        notes=list(dict.fromkeys(_cell(note) for fit in fits.values() for note in fit.notes)),
        name_in_python=ascii(base_model or model.name),
        task_in_python=ascii(next(iter(fits))),
        dtype_in_python=f"torch.{model.dtype}" if re.fullmatch(r"[a-z]+[0-9]+", model.dtype) else '"auto"',
    )
    return str(card)


def _measured(fit: SiteFit, evaluation: Evaluation | None, methods: list[str], fits: SiteFits) -> list[object]:
    """Return the number of queries that a fit was evaluated on, and its accuracy under each method."""
    if evaluation is None:
        return [""] * (1 + len(methods))
    cells: list[object] = [len(evaluation.queries)]
    is_lowest = fit.seed == min(other.seed for other in fits.of(fit.task))
    for method in methods:
        # Prompting has no seed, and files of site_lens 0.1 do not tell the lowest.
        seeds = (fit.seed, None) if is_lowest or method not in FITTED else (fit.seed,)
        names = zip(evaluation.methods, evaluation.evaluated, strict=True)
        shares = [evaluation.accuracy(name) for name, way in names if way.name == method and way.seed in seeds]
        cells.append(" ".join(f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})" for share in shares))
    return cells


def _cell(value: object) -> str:
    """Write a value so that it stays in its cell and is no Markdown, HTML or link."""
    escaped = re.sub(r"([\\`*_\[\]<>&|~$])", r"\\\1", visible(" ".join(str(value).split())))
    # A bare address would become a link.
    return re.sub(r":(?=//)|(?<=www)\.", r"\\\g<0>", escaped, flags=re.IGNORECASE)
