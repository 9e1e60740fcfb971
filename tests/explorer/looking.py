"""A run with a bit of everything, and a model side with planted answers, for tests that need no model."""

import numpy as np

import site_lens as sl
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.records.base import Float32
from site_lens.records.hashing import digest_json
from site_lens.stats.intervals import wilson
from site_lens.studies.head_profiles.result import PARTS, PATTERNS
from tests.fakes import GRID, VERSIONS, fake_attention, fake_evaluation, fake_fit, fake_fits, fake_identity

TASKS = ("antonym", "synonym")


def fake_profiles() -> sl.HeadProfiles:
    """Build profiles of two heads on antonym: L2H1 looks at answers and copies."""
    heads = ("L0H1", "L2H1")
    attention = np.zeros((1, 2, len(PARTS)))
    attention[0, :, PARTS.index("frame")] = (1, 0.2)
    attention[0, 1, PARTS.index("answer")] = 0.8
    return sl.HeadProfiles(
        tasks=("antonym",), heads=heads, alphas=np.full((1, 2), 0.9), attention=attention,
        patterns=np.array([[0.1, 0.7], [0.2, 0.0], [0.3, 0.0]])[: len(PATTERNS)], copying=np.array([0.0, 0.5]),
        answer_gain=np.array([[-0.5, 1.25]]), promoted=np.ones((1, 2, 1)),
        promoted_tokens=(((" <b>",), (" cold",)),), written=np.zeros((1, 2, 1)), written_tokens=(((" x",), (" y",)),),
        n_prompts=4, n_shots=2, seed=0, fit_digests=(digest_json(["a"]),), model=fake_identity(), versions=VERSIONS,
    )  # fmt: skip


def fake_run() -> sl.Run:
    """Build a run of two tasks with controls, scores, evaluations, attention and profiles."""
    scores = sl.HeadScores(
        grid=GRID, values=np.arange(48).reshape(GRID.shape), selector="mask", meaning="effect", task="antonym"
    )
    return sl.Run(
        fits=fake_fits(TASKS),
        controls={ZERO_EMBEDDING: fake_fits(TASKS, alphas=np.full(GRID.shape, 0.25))},
        evaluations=sl.Evaluations(fake_evaluation(task) for task in TASKS),
        attention=sl.AttentionSamples([fake_attention("antonym")]),
        scores={"mask": sl.ScoresByTask([scores])},
        studies={"profiles": fake_profiles()},
    )


def two_seeds() -> sl.SiteFits:
    """Fit one task twice and another once: L0H0 is open in seed 0 alone."""
    one, two, three = (np.zeros(GRID.shape) for _ in range(3))
    one[0, 0], two[0, 0], three[0, 0] = 0.9, 0.2, 0.8
    return sl.SiteFits([fake_fit("antonym", 0, one), fake_fit("antonym", 1, two), fake_fit("synonym", 0, three)])


class FakeLive:
    """A model side that answers with the number of heads that are open, and takes down what it was asked."""

    notes = ("the fit of 'antonym': weights <differ>",)

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []

    def queries(self, fit: sl.SiteFit) -> tuple[str, ...]:
        return ("hot", "big")

    def expected(self, fit: sl.SiteFit, query: str) -> tuple[str, ...]:
        return ("cold", "cool") if query == "hot" else ()

    def accuracies(self, fit: sl.SiteFit, gates: sl.HeadGates) -> dict[str, sl.Interval]:
        n = min(len(gates.above(0)), 20)
        return {"zero_shot": wilson(1, 20), "ten_shot": wilson(18, 20), "injected": wilson(n, 20)}

    def prompts(self, fit: sl.SiteFit, query: str) -> dict[str, str]:
        return {"zero_shot": f"Q: {query}\nA:", "ten_shot": f"Q: x\nA: y\n\nQ: {query}\nA:"}

    def answers(self, fit: sl.SiteFit, query: str, gates: sl.HeadGates) -> dict[str, str]:
        self.asked.append((fit.task, query, gates.mass()))
        n = len(gates.above(0))
        return {"zero_shot": "<i>", "ten_shot": "cold", "injected": f"{query} under {n}"}

    def attention(self, text: str, head: sl.Head) -> tuple[tuple[str, ...], Float32]:
        tokens = tuple(text.split())
        return tokens, np.eye(len(tokens), dtype=np.float32)
