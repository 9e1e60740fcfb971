"""The fit of every task that an experiment over tasks uses."""

from collections.abc import Sequence

from site_lens.core.errors import InputError
from site_lens.core.fits import SiteFit, SiteFits
from site_lens.core.tasks import Task
from site_lens.models.protocol import LensModel


def first_fits(model: LensModel, tasks: Sequence[Task], fits: SiteFits) -> list[SiteFit]:
    """Return one fit a task, in the order of the tasks; of several seeds the lowest.

    Raises:
        InputError: A task has no fit.
        MismatchError: A fit belongs to another model.
    """
    found = []
    for task in tasks:
        several = fits.of(task.name)
        if not several:
            raise InputError(f"no fit of task {task.name!r}; there are fits of: {', '.join(fits)}")
        fit = min(several, key=lambda one: one.seed)
        model.identity.check_use(fit.embedding.model, f"the fit of {fit.task!r}")
        found.append(fit)
    return found
