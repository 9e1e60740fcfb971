"""Identity of the model of a record, and whether the record may be used on another one."""

from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.heads.head_set import HeadGrid
from site_lens.models.identity import ModelIdentity, library_versions
from tests.fakes import fake_fit, fake_identity

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
)


def test_differences_that_do_not_move_z_are_returned_to_be_recorded() -> None:
    for changes in SILENT:
        assert HERE.check_use(there(**changes), "the fit") == (), changes
    for part, changes in NOTED.items():
        (note,) = HERE.check_use(there(**changes), "the fit of antonym")
        assert note == f"the fit of antonym: {part} of here differs from there, on which it was made"
    assert len(HERE.check_use(there(dtype="float16", bos=False, host="HookedTransformer"), "the fit")) == 2


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


def test_fields_that_older_records_lack_are_left_out_where_none_so_that_digests_stay(tmp_path: Path) -> None:
    _, fields = HERE.parts()
    assert set(fields) == set(ModelIdentity.model_fields) - {"n_kv_heads", "quantization", "weights_from"}
    known: dict[str, Any] = {"n_kv_heads": 4, "quantization": "nf4", "weights_from": "GGUF (Q4_1), dequantised"}
    assert HERE.replace(**known).parts()[1] == fields | known
    for n_kv_heads in (None, 4):
        fit = fake_fit("antonym", model=HERE.replace(n_kv_heads=n_kv_heads))
        path = sl.save(fit, tmp_path / f"fit {n_kv_heads}")
        assert ('"n_kv_heads"' in path.read_text()) == (n_kv_heads is not None)
        assert sl.load(path, sl.SiteFit) == fit


def test_versions_name_the_libraries_whose_numbers_go_into_a_record() -> None:
    versions = library_versions()
    assert set(versions) == {"site_lens", "torch", "transformer-lens", "transformers"}
    assert versions["site_lens"] in (sl.__version__, "not installed")
