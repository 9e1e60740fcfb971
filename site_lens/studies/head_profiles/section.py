"""Section on head profiles, and one on roles for each transfer matrix of the run."""

from site_lens.plots.section import Section, SectionFigure, Studies, signed
from site_lens.records.errors import InputError
from site_lens.studies.head_profiles.plot import attention_shares
from site_lens.studies.head_profiles.result import HeadProfiles
from site_lens.studies.head_profiles.roles import associate_roles
from site_lens.studies.transfer.result import TransferMatrix


def sections(name: str, profiles: HeadProfiles, studies: Studies) -> list[Section]:
    """Return the section of head profiles, then whether roles go along with each transfer matrix."""
    lines = [
        f"{len(profiles.heads)} head{'s' * (len(profiles.heads) > 1)} on {len(profiles.tasks)} "
        f"task{'s' * (len(profiles.tasks) > 1)}, {profiles.n_prompts} prompts of "
        f"{profiles.n_shots} demonstrations each: what the last token attends to, without any edit."
    ]
    if profiles.copying is None:
        lines.append(f"No copying score: {profiles.copying_missing}.")
    figure = SectionFigure(name, attention_shares(profiles), profiles.frame())
    roles = [_roles(study, profiles) for study in studies.values() if isinstance(study, TransferMatrix)]
    return [Section("What the heads do", lines, [figure], profiles.notes), *roles]


def _roles(matrix: TransferMatrix, profiles: HeadProfiles) -> Section:
    rounded = " (alphas rounded)" if matrix.hard else ""
    heading = f"Do tasks whose alphas transfer use heads of the same role?{rounded}"
    try:
        association = associate_roles(matrix, profiles)
    except InputError as error:
        return Section(heading, [f"Not tested: {error}."])
    lines = [f"{association.meaning} (Mantel tests over {association.roles.n_tasks} tasks.)"]
    lines += [
        f"Transfer with {row['with']}: rank correlation {signed(row['correlation'])}, p = {row['p_value']:.2g}."
        for row in association.frame().to_dict("records")
    ]
    return Section(heading, lines)
