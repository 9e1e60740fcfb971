"""Display names are made of fields, and names of old files come apart into them."""

from site_lens.methods.names import EvaluatedMethod, display_names, few_shot_name, shots_of


def test_the_number_of_demonstrations_comes_back_out_of_a_name() -> None:
    for n_shots in range(120):
        assert shots_of(few_shot_name(n_shots)) == n_shots
    for name in ("many_shot", "_shot", "03_shot", "-1_shot", "ten_shots", "3_shot_x", "site"):
        assert shots_of(name) is None, name


def test_names_tell_methods_apart_and_are_parsed_into_the_fields_they_are_made_of() -> None:
    kinds = ("prompting", "calibrated", "site", "site_hard", "site_top_k", "site_zero_embedding", "lora")
    methods = [EvaluatedMethod(kind=kind, n_shots=n) for kind in kinds[:2] for n in (1, 3, 10)]
    methods += [EvaluatedMethod(kind=kind, n_shots=None, seed=seed) for kind in kinds[2:] for seed in (None, 2, 11)]
    names = display_names(methods)
    assert len(set(names)) == len(names)
    assert [EvaluatedMethod.parse(name) for name in names] == methods


def test_the_lowest_seed_alone_has_none_in_its_name_whatever_the_order() -> None:
    methods = [EvaluatedMethod(kind=kind, n_shots=0, seed=seed) for seed in (5, 3) for kind in ("site", "site_hard")]
    assert display_names(methods) == ("site#5", "site#5_hard", "site", "site_hard")
    assert display_names([methods[2], *methods[:2]]) == ("site", "site#5", "site#5_hard")  # which the lowest lacks
