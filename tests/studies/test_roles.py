"""Roles and transfer: a planted association is found, none is not, and too few tasks are refused."""

from collections.abc import Sequence

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles
from site_lens.studies.head_profiles.roles import associate_roles
from site_lens.studies.transfer.result import TransferMatrix
from tests.fakes import VERSIONS, fake_identity, fake_transfer

TASKS = tuple("abcdefgh")
GRID = sl.HeadGrid.full(2, 8)
HEADS = tuple(map(str, GRID))
KINDS = (0, 1) * 4
"""Role of the heads of each task, where no other is planted."""


def planted_profiles(kinds: Sequence[int] = KINDS, tasks: Sequence[str] = TASKS) -> HeadProfiles:
    """Let task i use heads 2i and 2i + 1 alone; heads of kind 1 look at answers, those of kind 0 at the query."""
    n = len(tasks)
    alphas = np.full((n, len(HEADS)), 0.01)
    attention = np.zeros((n, len(HEADS), len(PARTS)))
    noise = seed_stream("roles").uniform(0, 0.05, len(HEADS))
    for i in range(n):
        alphas[i, 2 * i : 2 * i + 2] = 0.9
    for head in range(len(HEADS)):
        kind = kinds[head // 2] if head // 2 < n else 0
        attention[:, head, PARTS.index("answer")] = noise[head] + 0.9 * kind
        attention[:, head, PARTS.index("query")] = 1 - noise[head] - 0.9 * kind
    words = tuple(tuple((" x",) for _ in HEADS) for _ in tasks)
    return HeadProfiles(
        tasks=tuple(tasks),
        heads=HEADS,
        alphas=alphas,
        attention=attention,
        patterns=np.zeros((len(PATTERNS), len(HEADS))),
        copying=None,
        copying_missing="not read",
        answer_gain=np.zeros(alphas.shape),
        promoted=np.ones((*alphas.shape, 1)),
        promoted_tokens=words,
        written=np.ones((*alphas.shape, 1)),
        written_tokens=words,
        n_prompts=4,
        n_shots=2,
        seed=0,
        fit_digests=tuple(digest_json([task]) for task in tasks),
        model=fake_identity(grid=GRID),
        versions=VERSIONS,
    )


def transfer_between(kinds: Sequence[int] = KINDS, tasks: Sequence[str] = TASKS) -> TransferMatrix:
    same = np.equal.outer(kinds, kinds)
    rates = np.where(same, 0.8, 0.2) + seed_stream("rates").uniform(-0.05, 0.05, same.shape)
    return fake_transfer(tasks, rates={"alphas": rates})


def test_transfer_between_tasks_of_like_roles_is_found_though_they_share_no_head() -> None:
    profiles = planted_profiles()
    association = associate_roles(transfer_between(), profiles, n_top=2)
    assert association.verdict == "same_role"
    assert association.roles.value > 0.7 and association.roles.p_value < 0.05
    assert (association.heads.value, association.n_apart) == (0, 8 * 7)  # no two tasks share a head
    assert association.apart is not None and association.apart.value == pytest.approx(association.roles.value)
    table = association.frame()
    assert list(table["with"]) == ["roles", "shared heads", "roles, no head shared"]
    assert table["correlation"][0] == association.roles.value
    unrelated = associate_roles(transfer_between((0, 0, 1, 1) * 2), profiles, n_top=2)
    assert unrelated.verdict == "not_found" and abs(unrelated.roles.value) < 0.4


def test_shared_heads_are_told_from_shared_roles() -> None:
    kinds = (0,) * 4 + (1,) * 4
    profiles = planted_profiles(kinds)
    alphas = profiles.alphas.copy()
    alphas[1::2] = alphas[::2]  # pairs of tasks use the same heads
    association = associate_roles(transfer_between(kinds), profiles.replace(alphas=alphas), n_top=2)
    assert association.roles.value > association.heads.value > 0
    assert association.n_apart == 8 * 6


def test_the_order_of_tasks_and_tasks_in_one_of_both_do_not_matter() -> None:
    moved = [3, 1, 4, 0, 5, 2, 7, 6]
    profiles, transfer = planted_profiles(), transfer_between()
    turned = profiles.replace(
        tasks=tuple(TASKS[i] for i in moved), alphas=profiles.alphas[moved], attention=profiles.attention[moved]
    )
    assert associate_roles(transfer, turned, n_top=2) == associate_roles(transfer, profiles, n_top=2)
    assert associate_roles(transfer_between(KINDS[:6], TASKS[:6]), profiles, n_top=2).roles.n_tasks == 6


def test_of_rounded_alphas_every_open_head_counts_and_no_closed_one() -> None:
    profiles, transfer = planted_profiles(), transfer_between()
    sets = profiles.replace(alphas=np.round(profiles.alphas))  # two heads a task, fewer than the default of soft alphas
    assert associate_roles(transfer, sets) == associate_roles(transfer, profiles, n_top=2)
    none_profiled = sets.alphas.copy()
    none_profiled[0] = 0
    found = associate_roles(transfer, sets.replace(alphas=none_profiled))
    assert found.roles.n_tasks == len(TASKS) - 1
