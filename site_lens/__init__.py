"""Find which attention heads carry a task, on TransformerLens models.

The names below are the public interface; each is loaded when it is first touched, so that `import site_lens` costs
nothing and the reading side (`load`, `plots`, `write_report`) never loads torch.
"""

import sys
from pathlib import Path


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

from site_lens._public import lazy_names  # noqa: E402  # after the working folder has left the path

_RENAMED = {
    "Check": "ModelCheck",
    "TransferReading": "TransferSummary",
    "compare_heads": "head_overlap",
    "compare_methods": "run_methods",
    "examine": "check_model",
    "inject": "injection_edits",
    "measure_agreement": "seed_agreement",
    "read_transfer": "summarize_transfer",
    "tabulate_methods": "method_table",
}
"""Names of 0.1, which go away with 0.3."""

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, renamed=_RENAMED)
