"""Roles and transfer: a planted association is found, none is not, and too few tasks are refused."""

from collections.abc import Sequence

import numpy as np
import pytest

import site_lens as sl
from site_lens.records.hashing import digest_json, seed_stream
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles
from site_lens.studies.head_profiles.roles import FEWEST_TASKS, associate_roles
from site_lens.studies.transfer.result import TransferMatrix
from tests.fakes import VERSIONS, fake_identity, fake_transfer

TASKS = tuple("abcdefgh")
GRID = sl.HeadGrid.full(2, 8)
HEADS = tuple(map(str, GRID))


def planted_profiles(kinds: Sequence[int], tasks: Sequence[str] = TASKS) -> HeadProfiles:
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


def transfer_between(kinds: Sequence[int], tasks: Sequence[str] = TASKS) -> TransferMatrix:
    same = np.equal.outer(kinds, kinds)
    rates = np.where(same, 0.8, 0.2) + seed_stream("rates").uniform(-0.05, 0.05, same.shape)
    return fake_transfer(tasks, rates={"alphas": rates})


def test_transfer_between_tasks_of_like_roles_is_found_though_they_share_no_head() -> None:
    kinds = (0, 1) * 4
    found = associate_roles(transfer_between(kinds), planted_profiles(kinds), n_top=2)
    assert found.roles.value > 0.7
    assert found.roles.p_value < 0.05
    assert found.roles.n_tasks == 8
    assert found.heads.value == 0  # nobody shares a head
    assert found.n_apart == 8 * 7
    assert found.apart is not None
    assert found.apart.value == pytest.approx(found.roles.value)
    assert found.verdict == "same_role"
    table = found.frame()
    assert list(table["with"]) == ["roles", "shared heads", "roles, no head shared"]
    assert table["p_value"][0] == found.roles.p_value


def test_transfer_along_other_lines_is_not() -> None:
    kinds, others = (0, 1) * 4, (0, 0, 1, 1) * 2
    found = associate_roles(transfer_between(others), planted_profiles(kinds), n_top=2)
    assert found.roles.p_value > 0.1
    assert abs(found.roles.value) < 0.4
    assert found.verdict == "not_found"


def test_shared_heads_are_told_from_shared_roles() -> None:
    kinds = (0,) * 4 + (1,) * 4
    profiles = planted_profiles(kinds)
    alphas = profiles.alphas.copy()
    alphas[1::2] = alphas[::2]  # pairs of tasks use the same heads
    found = associate_roles(transfer_between(kinds), profiles.replace(alphas=alphas), n_top=2)
    assert found.heads.value > 0
    assert found.n_apart == 8 * 6
    assert found.apart is not None
    assert found.roles.value > found.heads.value


def test_the_order_of_tasks_and_tasks_in_one_of_both_do_not_matter() -> None:
    kinds = (0, 1) * 4
    profiles = planted_profiles(kinds)
    moved = [3, 1, 4, 0, 5, 2, 7, 6]
    turned = profiles.replace(
        tasks=tuple(TASKS[i] for i in moved),
        alphas=profiles.alphas[moved],
        attention=profiles.attention[moved],
        fit_digests=tuple(profiles.fit_digests[i] for i in moved),
    )
    transfer = transfer_between(kinds)
    assert associate_roles(transfer, turned, n_top=2) == associate_roles(transfer, profiles, n_top=2)
    fewer = associate_roles(transfer_between(kinds[:6], TASKS[:6]), profiles, n_top=2)
    assert fewer.roles.n_tasks == 6


def test_fewer_than_five_tasks_that_gain_are_refused() -> None:
    kinds = (0, 1, 0, 1)
    with pytest.raises(sl.InputError, match=f"needs {FEWEST_TASKS} tasks"):
        associate_roles(transfer_between(kinds, TASKS[:4]), planted_profiles(kinds, TASKS[:4]))
    flat = fake_transfer(TASKS, references=(0.9, 0.9, 0.9))
    with pytest.raises(sl.InputError, match="got 0: none"):
        associate_roles(flat, planted_profiles((0, 1) * 4))
    with pytest.raises(sl.InputError, match="cannot take 17"):
        associate_roles(transfer_between((0, 1) * 4), planted_profiles((0, 1) * 4), n_top=17)
