"""Fits that several studies of the planted model begin with."""

import pytest

import site_lens as sl
from tests.planted import TEMPLATE, planted_tasks


@pytest.fixture(scope="session")
def fits(planted: sl.LensModel) -> sl.SiteFits:
    config = sl.SiteConfig(n_prompts=20, n_shots=8)
    return sl.fit_site(planted, planted_tasks(), config, template=TEMPLATE, progress=False)
