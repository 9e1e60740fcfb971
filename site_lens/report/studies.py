"""Sections on the studies of a run; each study writes its own."""

from collections.abc import Mapping

from site_lens.plots.section import Section
from site_lens.records.base import Record
from site_lens.records.errors import InputError
from site_lens.records.study_registry import STUDIES, imported


def study_sections(studies: Mapping[str, Record]) -> list[Section]:
    """Return the sections of all studies of a run, in the order of the studies.

    Raises:
        InputError: A record is no study.
    """
    for name, study in studies.items():
        if study.kind not in STUDIES:
            known = ", ".join(sorted(STUDIES))
            raise InputError(f"study {name!r} holds a {study.kind}, which the report does not show; it shows {known}")
    return [
        section
        for name, study in studies.items()
        for section in imported(STUDIES[study.kind].sections)(name, study, studies)
    ]
