"""A run with a bit of everything, and a model side with planted answers, for tests that need no model."""

import numpy as np

from site_lens.activations.attention_sample import AttentionSamples
from site_lens.heads.head_set import Head
from site_lens.heads.scores import HeadGates, HeadScores, ScoresByTask
from site_lens.methods.evaluation import Evaluations
from site_lens.methods.registry import ZERO_EMBEDDING
from site_lens.records.base import Float32
from site_lens.records.hashing import digest_json
from site_lens.runs.run import Run
from site_lens.site.fit import SiteFit, SiteFits
from site_lens.stats.intervals import Interval, wilson
from site_lens.studies.head_profiles.result import PARTS, PATTERNS, HeadProfiles
from tests.fakes import GRID, VERSIONS, fake_attention, fake_evaluation, fake_fit, fake_fits, fake_identity

TASKS = ("antonym", "synonym")


def fake_profiles() -> HeadProfiles:
    """Build profiles of two heads on antonym: L2H1 looks at answers and copies."""
    heads = ("L0H1", "L2H1")
    attention = np.zeros((1, 2, len(PARTS)))
    attention[0, :, PARTS.index("frame")] = (1, 0.2)
    attention[0, 1, PARTS.index("answer")] = 0.8
    return HeadProfiles(
        tasks=("antonym",), heads=heads, alphas=np.full((1, 2), 0.9), attention=attention,
        patterns=np.array([[0.1, 0.7], [0.2, 0.0], [0.3, 0.0]])[: len(PATTERNS)], copying=np.array([0.0, 0.5]),
        answer_gain=np.array([[-0.5, 1.25]]), promoted=np.ones((1, 2, 1)),
        promoted_tokens=(((" <b>",), (" cold",)),), written=np.zeros((1, 2, 1)), written_tokens=(((" x",), (" y",)),),
        n_prompts=4, n_shots=2, seed=0, fit_digests=(digest_json(["a"]),), model=fake_identity(), versions=VERSIONS,
    )  # fmt: skip


def fake_run() -> Run:
    """Build a run of two tasks with controls, scores, evaluations, attention and profiles."""
    scores = HeadScores(
        grid=GRID, values=np.arange(48).reshape(GRID.shape), selector="mask", meaning="effect", task="antonym"
    )
    return Run(
        fits=fake_fits(TASKS),
        controls={ZERO_EMBEDDING: fake_fits(TASKS, alphas=np.full(GRID.shape, 0.25))},
        evaluations=Evaluations(fake_evaluation(task) for task in TASKS),
        attention=AttentionSamples([fake_attention("antonym")]),
        scores={"mask": ScoresByTask([scores])},
        studies={"profiles": fake_profiles()},
    )


def two_seeds() -> SiteFits:
    """Fit one task twice and another once: L0H0 is open in seed 0 alone."""
    one, two, three = (np.zeros(GRID.shape) for _ in range(3))
    one[0, 0], two[0, 0], three[0, 0] = 0.9, 0.2, 0.8
    return SiteFits([fake_fit("antonym", 0, one), fake_fit("antonym", 1, two), fake_fit("synonym", 0, three)])


class FakeLive:
    """A model side that answers with the number of heads that are open, and takes down what it was asked."""

    notes = ("the fit of 'antonym': weights <differ>",)

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []

    def queries(self, fit: SiteFit) -> tuple[str, ...]:
        return ("hot", "big")

    def expected(self, fit: SiteFit, query: str) -> tuple[str, ...]:
        return ("cold", "cool") if query == "hot" else ()

    def accuracies(self, fit: SiteFit, gates: HeadGates) -> dict[str, Interval]:
        n = min(len(gates.above(0)), 20)
        return {"zero_shot": wilson(1, 20), "ten_shot": wilson(18, 20), "injected": wilson(n, 20)}

    def prompts(self, fit: SiteFit, query: str) -> dict[str, str]:
        return {"zero_shot": f"Q: {query}\nA:", "ten_shot": f"Q: x\nA: y\n\nQ: {query}\nA:"}

    def answers(self, fit: SiteFit, query: str, gates: HeadGates) -> dict[str, str]:
        self.asked.append((fit.task, query, gates.mass()))
        n = len(gates.above(0))
        return {"zero_shot": "<i>", "ten_shot": "cold", "injected": f"{query} under {n}"}

    def attention(self, text: str, head: Head) -> tuple[tuple[str, ...], Float32]:
        tokens = tuple(text.split())
        return tokens, np.eye(len(tokens), dtype=np.float32)
