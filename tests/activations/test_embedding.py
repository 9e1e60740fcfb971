"""Record of a task embedding."""

from tests.fakes import fake_embedding, fake_identity
from tests.samples import SMALL

MODEL = fake_identity(grid=SMALL)


def test_the_zero_embedding_keeps_all_but_the_numbers() -> None:
    embedding = fake_embedding("antonym", model=MODEL)
    zero = embedding.zeros()
    assert not zero.mean.any() and not zero.spread.any()
    assert zero.replace(mean=embedding.mean, spread=embedding.spread) == embedding
