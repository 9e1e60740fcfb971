"""Identity of the model of a record, and whether the record may be used on another one."""

from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.heads.head_set import HeadGrid
from site_lens.models.identity import ModelIdentity
from site_lens.site.control_embeddings import random_embedding
from tests.fakes import fake_embedding, fake_identity

HERE = fake_identity("here")


def there(**changes: Any) -> ModelIdentity:
    """The identity of the same model under another name, with some changes."""
    return HERE.replace(name="there", **changes)


NOTED: dict[str, dict[str, Any]] = {
    "weights": {"weights_digest": "other"},
    "dtype": {"dtype": "bfloat16"},
    "tokenizer": {"tokenizer_digest": "other"},
    "BOS": {"bos": False},
    "quantisation": {"quantization": "nf4"},
}
"""Changes that do not move z."""
SILENT: tuple[dict[str, Any], ...] = ({}, {"n_kv_heads": 4}, {"host": "HookedTransformer"}, {"processing": "folded"})
OTHER_HEADS: tuple[dict[str, Any], ...] = (
    {"grid": HeadGrid.full(6, 9)},
    {"d_head": 8},
    {"grid": HeadGrid((8,) * 5 + (0,))},
    {"d_head_per_layer": (HERE.d_head,) * 5 + (2,)},
)


def test_differences_that_do_not_move_z_are_returned_to_be_recorded() -> None:
    for changes in SILENT:
        assert HERE.check_use(there(**changes), "the fit") == (), changes
    for part, changes in NOTED.items():
        (note,) = HERE.check_use(there(**changes), "the fit of antonym")
        assert note == f"the fit of antonym: {part} of here differs from there, on which it was made"
    assert len(HERE.check_use(there(dtype="float16", bos=False, host="HookedTransformer"), "the fit")) == 2


def test_the_width_of_every_layer_is_known_and_fits_its_heads() -> None:
    d_head, grid = HERE.d_head, HeadGrid((8, 8, 0))
    ragged = HERE.replace(grid=grid, d_head_per_layer=(2, d_head, 0))
    assert ragged.widths == (2, d_head, 0) and HERE.widths == (d_head,) * 6
    assert ragged.z_mask.sum(axis=(1, 2)).tolist() == [16, 8 * d_head, 0]
    for wrong in ((2, d_head), (2, 2, 0), (2, d_head, 1), (0, d_head, 0)):
        with pytest.raises(sl.InputError):
            ragged.replace(d_head_per_layer=wrong)


def test_a_random_embedding_has_numbers_only_where_z_has() -> None:
    model = HERE.replace(grid=HeadGrid((8, 8, 0)), d_head_per_layer=(2, HERE.d_head, 0))
    embedding = fake_embedding("antonym", model=model)
    embedding = embedding.replace(mean=embedding.mean * model.z_mask)
    drawn = random_embedding(embedding, seed=0).mean
    assert not drawn[~model.z_mask].any()
    assert np.allclose(np.linalg.norm(drawn, axis=-1), np.linalg.norm(embedding.mean, axis=-1), rtol=1e-5)


def test_other_heads_are_refused_with_both_models() -> None:
    for changes in OTHER_HEADS:
        with pytest.raises(sl.MismatchError) as caught:
            HERE.check_use(there(**changes), "the fit of antonym")
        assert "there" in str(caught.value) and "here" in str(caught.value)


def test_other_weight_processing_is_refused_where_there_are_value_biases() -> None:
    for then, now in (("raw", "folded"), ("folded", "raw")):
        for here_biased, there_biased in ((True, False), (False, True), (True, True)):
            here = HERE.replace(processing=now, value_bias=here_biased)
            with pytest.raises(sl.MismatchError):
                here.check_use(there(processing=then, value_bias=there_biased), "the fit")
    assert HERE.replace(value_bias=True).check_use(there(value_bias=True), "the fit") == ()


def test_fields_that_older_records_lack_are_left_out_where_none_so_that_digests_stay() -> None:
    _, fields = HERE.parts()
    younger = {"n_kv_heads", "d_head_per_layer", "quantization", "weights_from"}
    assert set(fields) == set(ModelIdentity.model_fields) - younger
    known: dict[str, Any] = {"n_kv_heads": 4, "quantization": "nf4", "weights_from": "GGUF (Q4_1), dequantised"}
    assert HERE.replace(**known).parts()[1] == fields | known
