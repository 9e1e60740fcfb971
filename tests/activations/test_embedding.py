import numpy as np
import pytest

from site_lens.heads.head_set import HeadGrid
from site_lens.records.errors import InputError
from tests.fakes import fake_embedding, fake_identity
from tests.samples import SMALL

MODEL = fake_identity(grid=SMALL)


@pytest.mark.parametrize("name", ["mean", "spread"])
@pytest.mark.parametrize("shape", [(3, 3, 5), (3, 2, 4), (2, 3, 4)])
def test_an_embedding_of_another_shape_is_refused_with_both_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as caught:
        fake_embedding("antonym", model=MODEL).replace(**{name: np.zeros(shape)})
    said = f"{name} of shape {shape} does not fit fake-model, which needs (layer head d_head) = (3, 3, 4)"
    assert said in str(caught.value)


def test_an_embedding_without_an_axis_of_d_head_is_refused() -> None:
    with pytest.raises(InputError, match=r"mean: needs axes \(layer head d_head\), got an array of shape \(3, 3\)"):
        fake_embedding("antonym", model=MODEL, mean=np.zeros((3, 3)))


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="mean: holds numbers that are not finite"):
        fake_embedding("antonym", model=MODEL, mean=np.full((3, 3, 4), np.inf))


@pytest.mark.parametrize(("field", "value"), [("n_prompts", 0), ("n_shots", -1), ("seed", 0.5), ("task", None)])
def test_settings_that_make_no_sense_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"TaskEmbedding: {field}: .*got {value}"):
        fake_embedding("antonym").replace(**{field: value})


def test_the_zero_embedding_keeps_all_but_the_numbers() -> None:
    embedding = fake_embedding("antonym", model=MODEL)
    zero = embedding.zeros()
    assert not zero.mean.any()
    assert not zero.spread.any()
    assert zero.replace(mean=embedding.mean, spread=embedding.spread) == embedding
    assert zero.zeros() == zero


def test_the_frame_gives_the_norm_and_spread_of_every_head() -> None:
    mean, spread = np.zeros((2, 2, 4)), np.full((2, 2, 4), 0.5)
    mean[1, 0] = [3, 0, 4, 0]
    model = fake_identity(grid=HeadGrid.full(2, 2))
    table = fake_embedding("antonym", model=model, mean=mean, spread=spread).frame()
    assert table["norm"].tolist() == [0, 0, 5, 0]
    assert table["spread"].tolist() == [0.5] * 4
    assert table[["layer", "head"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len(fake_embedding("antonym", model=MODEL).frame()) == len(SMALL)
