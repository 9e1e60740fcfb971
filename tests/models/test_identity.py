from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.heads.head_set import HeadGrid
from site_lens.models.identity import ModelIdentity, library_versions
from site_lens.records.errors import InputError, MismatchError
from tests.fakes import fake_fit, fake_identity

HERE = fake_identity("here")


def there(**changes: Any) -> ModelIdentity:
    """The identity of the same model under another name, with some changes."""
    return HERE.replace(name="there", **changes)


def test_a_record_may_be_used_on_its_own_model_without_a_word() -> None:
    assert HERE.check_use(there(), "the fit of antonym") == ()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"weights_digest": "other"}, "weights"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"tokenizer_digest": "other"}, "tokenizer"),
        ({"bos": False}, "BOS"),
    ],
)
def test_what_differs_without_moving_z_is_returned_to_be_recorded(changes: dict[str, Any], part: str) -> None:
    said = f"the fit of antonym: {part} of here differs from there, on which it was made"
    assert HERE.check_use(there(**changes), "the fit of antonym") == (said,)


def test_everything_that_differs_is_returned() -> None:
    noted = HERE.check_use(there(dtype="float16", bos=False, host="HookedTransformer"), "the fit")
    assert [note.split(" of ")[0] for note in noted] == ["the fit: dtype", "the fit: BOS"]


@pytest.mark.parametrize("changes", [{"grid": HeadGrid.full(6, 9)}, {"d_head": 8}, {"grid": HeadGrid((8,) * 5 + (0,))}])
def test_other_heads_are_refused_with_both_grids_and_the_way_out(changes: dict[str, Any]) -> None:
    made_on = there(**changes)
    with pytest.raises(MismatchError) as caught:
        HERE.check_use(made_on, "the fit of antonym")
    assert str(caught.value) == (
        f"the fit of antonym was made on there ({made_on.grid}, d_head {made_on.d_head}) and cannot be used on here "
        "(6 layers x 8 heads, d_head 4); fit it again on here"
    )


@pytest.mark.parametrize("biased", ["here", "there", "both"])
@pytest.mark.parametrize("then", ["raw", "folded"])
def test_other_weight_processing_is_refused_where_there_are_value_biases(biased: str, then: str) -> None:
    now = "folded" if then == "raw" else "raw"
    here = HERE.replace(processing=now, value_bias=biased in ("here", "both"))
    said = rf"the fit was made on {then} weights and here now has {now} weights; .* load the model the same way as then"
    with pytest.raises(MismatchError, match=said):
        here.check_use(there(processing=then, value_bias=biased in ("there", "both")), "the fit")


def test_other_weight_processing_is_no_matter_without_value_biases() -> None:
    assert HERE.replace(processing="folded").check_use(there(), "the fit") == ()


def test_value_biases_alone_are_no_matter() -> None:
    assert HERE.replace(value_bias=True).check_use(there(value_bias=True), "the fit") == ()


def test_a_processing_that_nobody_knows_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"ModelIdentity: processing: Input should be 'raw' or 'folded' \(got 'cooked'"
    ):
        HERE.replace(processing="cooked")


def test_shared_key_value_heads_are_no_matter_for_use_and_older_identities_do_not_name_them() -> None:
    assert HERE.replace(n_kv_heads=4).check_use(there(), "the fit") == ()
    assert HERE.check_use(there(n_kv_heads=4), "the fit") == ()


def test_an_identity_without_shared_key_value_heads_keeps_the_fields_and_so_the_digest_of_older_records() -> None:
    _, fields = HERE.parts()
    assert set(fields) == set(ModelIdentity.model_fields) - {"n_kv_heads", "quantization"}
    assert HERE.replace(n_kv_heads=4).parts()[1] == fields | {"n_kv_heads": 4}
    assert HERE.replace(n_kv_heads=4).digest != HERE.digest


def test_another_quantisation_is_said_and_identities_without_one_do_not_name_it() -> None:
    packed = HERE.replace(quantization="nf4")
    assert packed.check_use(there(quantization="nf4"), "the fit") == ()
    (note,) = packed.check_use(there(), "the fit")
    assert note.startswith("the fit: quantisation of ")
    assert packed.parts()[1] == HERE.parts()[1] | {"quantization": "nf4"}


@pytest.mark.parametrize("n_kv_heads", [None, 4])
def test_key_value_heads_survive_saving_inside_a_record(n_kv_heads: int | None, tmp_path: Path) -> None:
    fit = fake_fit("antonym", model=HERE.replace(n_kv_heads=n_kv_heads))
    path = sl.save(fit, tmp_path / "fit")
    assert ('"n_kv_heads"' in path.read_text()) == (n_kv_heads is not None)
    again = sl.load(path, sl.SiteFit)
    assert again == fit
    assert again.embedding.model.n_kv_heads == n_kv_heads


@pytest.mark.parametrize(
    ("grid", "n_kv_heads"), [(HERE.grid, 3), (HERE.grid, 8), (HERE.grid, 16), (HeadGrid((8, 4)), 2), (HERE.grid, 0)]
)
def test_key_value_heads_that_heads_do_not_share_evenly_are_refused(grid: HeadGrid, n_kv_heads: int) -> None:
    with pytest.raises(InputError, match="key-value heads are not shared evenly|greater than or equal to 1"):
        HERE.replace(grid=grid, n_kv_heads=n_kv_heads)


def test_layers_without_attention_share_nothing() -> None:
    assert HERE.replace(grid=HeadGrid((8, 0, 8)), n_kv_heads=2).n_kv_heads == 2


def test_versions_name_the_libraries_whose_numbers_go_into_a_record() -> None:
    versions = library_versions()
    assert set(versions) == {"site_lens", "torch", "transformer-lens", "transformers"}
    assert versions["site_lens"] in (sl.__version__, "not installed")
    assert all(versions.values())
