"""Find which attention heads carry a task, on TransformerLens models.

The names below are the public interface; each is loaded when it is first touched, so that `import site_lens` costs
nothing and the reading side (`load`, `plots`, `write_report`) never loads torch.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from site_lens._version import __version__ as __version__


def _leave_working_folder() -> None:
    """Import nothing from the working folder, which `python -m site_lens.cli` puts before all other folders."""
    if sys.argv[:1] != ["-m"]:
        return
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the folder is gone, and nothing can be imported from it
        return
    if sys.path[:1] == [str(here)] and Path(__file__).parent.parent != here:
        del sys.path[0]


_leave_working_folder()

_HOMES = {
    "site_lens.core.errors": (
        "SiteLensError", "InputError", "TaskFileError", "MismatchError", "StorageError", "ModelError", "FitError",
    ),
    "site_lens.core.heads": ("Head", "HeadGrid", "HeadSet"),
    "site_lens.core.scores": ("HeadScores", "HeadGates", "ScoresByTask"),
    "site_lens.core.tasks": ("Example", "Task", "TaskAudit"),
    "site_lens.core.task_files": ("load_task", "load_tasks"),
    "site_lens.core.sampling": ("sample_tasks",),
    "site_lens.core.prompts": ("Prompt", "PromptTemplate"),
    "site_lens.core.embedding": ("TaskEmbedding",),
    "site_lens.core.fits": ("SiteConfig", "SiteTrace", "SiteFit", "SiteFits"),
    "site_lens.core.evaluation": ("Evaluation", "Evaluations"),
    "site_lens.core.answer_tokens": ("FirstTokens",),
    "site_lens.core.method_names": ("EvaluatedMethod",),
    "site_lens.core.statistics": ("Interval",),
    "site_lens.core.runs": ("Run",),
    "site_lens.core.storage": ("load", "save"),
    "site_lens.core.reading": ("Limits", "reading_limits"),
    "site_lens.core.attention": ("AttentionSample", "AttentionSamples"),
    "site_lens.core.convergence": ("Convergence",),
    "site_lens.core.agreement": ("Agreement",),
    "site_lens.core.diagnosis": ("Diagnosis",),
    "site_lens.core.overlap": ("Overlap",),
    "site_lens.core.method_table": ("MethodTable",),
    "site_lens.core.selector_agreement": ("SelectorAgreement",),
    "site_lens.core.fit_ablation": ("FitAblation",),
    "site_lens.core.task_arithmetic": ("TaskArithmetic",),
    "site_lens.core.transfer": ("TransferMatrix",),
    "site_lens.core.sensitivity": ("PromptSensitivity",),
    "site_lens.core.landscape": ("FitLandscape",),
    "site_lens.core.content": ("ContentControls",),
    "site_lens.core.transfer_reading": ("TransferReading",),
    "site_lens.core.faithfulness": ("Faithfulness",),
    "site_lens.core.profiles": ("HeadProfiles",),
    "site_lens.core.clusters": ("TaskClusters", "HeadClusters", "CoClusters"),
    "site_lens.core.hub_folder": ("from_hub", "push_to_hub", "save_for_hub"),
    "site_lens.models.chat": ("chat_template",),
    "site_lens.models.loading": ("load_model", "wrap_model"),
    "site_lens.models.self_check": ("Check",),
    "site_lens.interventions.examining": ("examine",),
    "site_lens.interventions.attending": ("sample_attention",),
    "site_lens.interventions.asking": ("first_tokens",),
    "site_lens.interventions.capturing": ("capture_embeddings",),
    "site_lens.interventions.patching": ("inject", "mix"),
    "site_lens.interventions.evaluating": ("evaluate",),
    "site_lens.interventions.generating": ("generate",),
    "site_lens.interventions.deploying": ("attach", "deploy"),
    "site_lens.interventions.published_files": (
        "read_published_alphas", "read_published_embedding", "write_published_alphas", "write_published_embedding",
    ),
    "site_lens.selectors.site": ("fit_site", "fit_variants"),
    "site_lens.selectors.site_plan": ("SiteJob",),
    "site_lens.experiments.study": ("fit_and_evaluate",),
    "site_lens.experiments.comparing": ("compare_methods",),
    "site_lens.experiments.transfer": ("transfer_matrix",),
    "site_lens.experiments.sensitivity": ("prompt_sensitivity",),
    "site_lens.experiments.landscape": ("fit_landscape",),
    "site_lens.experiments.content": ("content_controls",),
    "site_lens.experiments.ablations": ("ablate_fit",),
    "site_lens.experiments.arithmetic": ("combine_tasks",),
    "site_lens.experiments.faithfulness": ("faithfulness_curves",),
    "site_lens.experiments.profiling": ("head_profiles",),
    "site_lens.selectors.table": ("score_heads",),
    "site_lens.selectors.settings": ("ComparisonConfig",),
    "site_lens.diagnostics.convergence": ("check_convergence",),
    "site_lens.diagnostics.agreement": ("measure_agreement",),
    "site_lens.diagnostics.diagnosis": ("diagnose",),
    "site_lens.diagnostics.overlap": ("compare_heads",),
    "site_lens.diagnostics.transfer": ("read_transfer",),
    "site_lens.diagnostics.roles": ("associate_roles",),
    "site_lens.diagnostics.methods": ("tabulate_methods",),
    "site_lens.diagnostics.selectors": ("compare_selectors",),
    "site_lens.diagnostics.clustering": ("cluster_tasks", "cluster_heads", "cocluster"),
    "site_lens.reporting.report": ("write_report",),
    "site_lens.reporting.comparison": ("write_comparison",),
    "site_lens.reporting.images": ("write_image", "write_images"),
    "site_lens.sweeps.schema": ("Sweep",),
    "site_lens.sweeps.store": ("RunStore",),
    "site_lens.sweeps.driving": ("SweepOutcome", "run_sweep"),
    "site_lens.explorer.opening": ("explore",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "plots", *_HOME_OF]  # noqa: PLE0604  # strings all

if TYPE_CHECKING:
    from site_lens import plots as plots
    from site_lens.core.agreement import Agreement as Agreement
    from site_lens.core.answer_tokens import FirstTokens as FirstTokens
    from site_lens.core.attention import AttentionSample as AttentionSample
    from site_lens.core.attention import AttentionSamples as AttentionSamples
    from site_lens.core.clusters import CoClusters as CoClusters
    from site_lens.core.clusters import HeadClusters as HeadClusters
    from site_lens.core.clusters import TaskClusters as TaskClusters
    from site_lens.core.content import ContentControls as ContentControls
    from site_lens.core.convergence import Convergence as Convergence
    from site_lens.core.diagnosis import Diagnosis as Diagnosis
    from site_lens.core.embedding import TaskEmbedding as TaskEmbedding
    from site_lens.core.errors import FitError as FitError
    from site_lens.core.errors import InputError as InputError
    from site_lens.core.errors import MismatchError as MismatchError
    from site_lens.core.errors import ModelError as ModelError
    from site_lens.core.errors import SiteLensError as SiteLensError
    from site_lens.core.errors import StorageError as StorageError
    from site_lens.core.errors import TaskFileError as TaskFileError
    from site_lens.core.evaluation import Evaluation as Evaluation
    from site_lens.core.evaluation import Evaluations as Evaluations
    from site_lens.core.faithfulness import Faithfulness as Faithfulness
    from site_lens.core.fit_ablation import FitAblation as FitAblation
    from site_lens.core.fits import SiteConfig as SiteConfig
    from site_lens.core.fits import SiteFit as SiteFit
    from site_lens.core.fits import SiteFits as SiteFits
    from site_lens.core.fits import SiteTrace as SiteTrace
    from site_lens.core.heads import Head as Head
    from site_lens.core.heads import HeadGrid as HeadGrid
    from site_lens.core.heads import HeadSet as HeadSet
    from site_lens.core.hub_folder import from_hub as from_hub
    from site_lens.core.hub_folder import push_to_hub as push_to_hub
    from site_lens.core.hub_folder import save_for_hub as save_for_hub
    from site_lens.core.landscape import FitLandscape as FitLandscape
    from site_lens.core.method_names import EvaluatedMethod as EvaluatedMethod
    from site_lens.core.method_table import MethodTable as MethodTable
    from site_lens.core.overlap import Overlap as Overlap
    from site_lens.core.profiles import HeadProfiles as HeadProfiles
    from site_lens.core.prompts import Prompt as Prompt
    from site_lens.core.prompts import PromptTemplate as PromptTemplate
    from site_lens.core.reading import Limits as Limits
    from site_lens.core.reading import reading_limits as reading_limits
    from site_lens.core.runs import Run as Run
    from site_lens.core.sampling import sample_tasks as sample_tasks
    from site_lens.core.scores import HeadGates as HeadGates
    from site_lens.core.scores import HeadScores as HeadScores
    from site_lens.core.scores import ScoresByTask as ScoresByTask
    from site_lens.core.selector_agreement import SelectorAgreement as SelectorAgreement
    from site_lens.core.sensitivity import PromptSensitivity as PromptSensitivity
    from site_lens.core.statistics import Interval as Interval
    from site_lens.core.storage import load as load
    from site_lens.core.storage import save as save
    from site_lens.core.task_arithmetic import TaskArithmetic as TaskArithmetic
    from site_lens.core.task_files import load_task as load_task
    from site_lens.core.task_files import load_tasks as load_tasks
    from site_lens.core.tasks import Example as Example
    from site_lens.core.tasks import Task as Task
    from site_lens.core.tasks import TaskAudit as TaskAudit
    from site_lens.core.transfer import TransferMatrix as TransferMatrix
    from site_lens.core.transfer_reading import TransferReading as TransferReading
    from site_lens.diagnostics.agreement import measure_agreement as measure_agreement
    from site_lens.diagnostics.clustering import cluster_heads as cluster_heads
    from site_lens.diagnostics.clustering import cluster_tasks as cluster_tasks
    from site_lens.diagnostics.clustering import cocluster as cocluster
    from site_lens.diagnostics.convergence import check_convergence as check_convergence
    from site_lens.diagnostics.diagnosis import diagnose as diagnose
    from site_lens.diagnostics.methods import tabulate_methods as tabulate_methods
    from site_lens.diagnostics.overlap import compare_heads as compare_heads
    from site_lens.diagnostics.roles import associate_roles as associate_roles
    from site_lens.diagnostics.selectors import compare_selectors as compare_selectors
    from site_lens.diagnostics.transfer import read_transfer as read_transfer
    from site_lens.experiments.ablations import ablate_fit as ablate_fit
    from site_lens.experiments.arithmetic import combine_tasks as combine_tasks
    from site_lens.experiments.comparing import compare_methods as compare_methods
    from site_lens.experiments.content import content_controls as content_controls
    from site_lens.experiments.faithfulness import faithfulness_curves as faithfulness_curves
    from site_lens.experiments.landscape import fit_landscape as fit_landscape
    from site_lens.experiments.profiling import head_profiles as head_profiles
    from site_lens.experiments.sensitivity import prompt_sensitivity as prompt_sensitivity
    from site_lens.experiments.study import fit_and_evaluate as fit_and_evaluate
    from site_lens.experiments.transfer import transfer_matrix as transfer_matrix
    from site_lens.explorer.opening import explore as explore
    from site_lens.interventions.asking import first_tokens as first_tokens
    from site_lens.interventions.attending import sample_attention as sample_attention
    from site_lens.interventions.capturing import capture_embeddings as capture_embeddings
    from site_lens.interventions.deploying import attach as attach
    from site_lens.interventions.deploying import deploy as deploy
    from site_lens.interventions.evaluating import evaluate as evaluate
    from site_lens.interventions.examining import examine as examine
    from site_lens.interventions.generating import generate as generate
    from site_lens.interventions.patching import inject as inject
    from site_lens.interventions.patching import mix as mix
    from site_lens.interventions.published_files import read_published_alphas as read_published_alphas
    from site_lens.interventions.published_files import read_published_embedding as read_published_embedding
    from site_lens.interventions.published_files import write_published_alphas as write_published_alphas
    from site_lens.interventions.published_files import write_published_embedding as write_published_embedding
    from site_lens.models.chat import chat_template as chat_template
    from site_lens.models.loading import load_model as load_model
    from site_lens.models.loading import wrap_model as wrap_model
    from site_lens.models.self_check import Check as Check
    from site_lens.reporting.comparison import write_comparison as write_comparison
    from site_lens.reporting.images import write_image as write_image
    from site_lens.reporting.images import write_images as write_images
    from site_lens.reporting.report import write_report as write_report
    from site_lens.selectors.settings import ComparisonConfig as ComparisonConfig
    from site_lens.selectors.site import fit_site as fit_site
    from site_lens.selectors.site import fit_variants as fit_variants
    from site_lens.selectors.site_plan import SiteJob as SiteJob
    from site_lens.selectors.table import score_heads as score_heads
    from site_lens.sweeps.driving import SweepOutcome as SweepOutcome
    from site_lens.sweeps.driving import run_sweep as run_sweep
    from site_lens.sweeps.schema import Sweep as Sweep
    from site_lens.sweeps.store import RunStore as RunStore


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562); functions check the types of their arguments on this way in."""
    from site_lens.core.checked import checked_once

    if name == "plots":
        return import_module("site_lens.plots")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'site_lens' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    return value if isinstance(value, type) else checked_once(value, __name__)


def __dir__() -> list[str]:
    return sorted(__all__)
