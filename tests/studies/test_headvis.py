"""HeadVis export: the files and shapes of the contract that its frontend reads, and the numbers of the record."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import site_lens as sl
from site_lens.studies.text_profiles.headvis import export_headvis, headvis_files
from site_lens.studies.text_profiles.result import OTHER
from tests.fake_studies import fake_text_profiles

SEQUENCE = {
    "sequence_id": int, "interval": int, "tokens": list, "attention_indices": list, "attention_values": list,
    "seq_len": int, "max_activation": float,
}  # fmt: skip
CONFIG = {
    "model_name": str, "heads": list, "n_layers": int, "n_heads": int, "n_intervals": int, "metrics": list,
    "metric_descriptions": dict, "head_data_pattern": str, "has_umap": bool, "umap_heads": list, "custom_plots": list,
    "custom_tables": list, "statistics_display": dict,
}  # fmt: skip
"""Fields and types, from the docstrings of `data_pipeline.py` in github.com/anthropics/headvis."""


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def profiles(demo: sl.LensModel) -> sl.TextProfiles:
    texts = ["one two one two three one two", "日本語 🤷🏽 <b>", *(f"Q: {word}\nA: {word}" for word in ("hot", "cold"))]
    return sl.text_profiles(demo, texts, ["L0H5", "L1H6", "L4H2"], max_tokens=16, progress=False)


def test_every_file_has_the_fields_of_the_contract(profiles: sl.TextProfiles, tmp_path: Path) -> None:
    folder = export_headvis(profiles, tmp_path / "data")
    config = read(folder, "config.json")
    assert {name: type(value) for name, value in config.items()} == CONFIG
    rows = read(folder, "scatter_data.json")
    assert [[row["layer"], row["head"]] for row in rows] == config["heads"] == [[0, 5], [1, 6], [4, 2]]
    for row in rows:
        assert row.keys() == {"layer", "head", *config["metrics"]} and config["metrics"]
        assert all(isinstance(row[name], float) for name in config["metrics"])
    assert config["metric_descriptions"].keys() == set(config["metrics"])
    for layer, head in config["heads"]:
        shown = read(folder, "heads/" + config["head_data_pattern"].format(layer=layer, head=head))
        for sequence in shown["sequences"]:
            assert {name: type(value) for name, value in sequence.items()} == SEQUENCE
        for key in [plot["key"] for plot in config["custom_plots"]]:
            assert len(shown[key]["bin_edges"]) == len(shown[key]["bin_values"]) + 1
        for key in [table["key"] for table in config["custom_tables"]]:
            assert all(row.keys() == {"token", "weight"} for row in shown[key])
    assert read(folder, "server_config.json") == read(folder, "attributions/manifest.json") == {}


def test_sparse_attention_is_that_of_the_model_and_its_largest_is_the_activation(
    demo: sl.LensModel, profiles: sl.TextProfiles
) -> None:
    from site_lens.models.batch import Batch
    from site_lens.studies.text_profiles.measure import cut_text

    ids = {p.tokens: p.ids.tolist() for p in cut_text(demo.encoder, "one two one two three one two", 16)}
    for head in profiles.heads:
        sequences = headvis_files(profiles)[f"heads/{head}.json"]["sequences"]
        (sequence,) = [one for one in sequences if tuple(one["tokens"]) in ids]
        n = sequence["seq_len"]
        batch = Batch.of([ids[tuple(sequence["tokens"])]], pad=0, device=demo.device)
        pattern = demo.attention(batch, [sl.Head.parse(head)])[0, 0].numpy()
        sparse = np.zeros((n, n))
        sparse.flat[sequence["attention_indices"]] = sequence["attention_values"]
        assert np.allclose(sparse[sparse > 0], pattern[sparse > 0], atol=1e-4)
        assert np.allclose(np.sort(sparse)[:, -4:], np.sort(pattern)[:, -4:], atol=1e-4)
        inner = np.tril(pattern, -1)[1:, 1:]  # neither position 0 nor the diagonal
        assert sequence["max_activation"] == pytest.approx(inner.max(), abs=1e-4)
        pairs = [(one["interval"], one["max_activation"]) for one in sequences]
        assert pairs == sorted(pairs, reverse=True) and pairs[0][0] == 10


def test_distances_add_up_and_bytes_of_a_character_count_for_it(profiles: sl.TextProfiles) -> None:
    for i, head in enumerate(profiles.heads):
        shown = headvis_files(profiles)[f"heads/{head}.json"]
        total = sum(shown["qk_distance_histogram"]["bin_values"])
        assert total == pytest.approx(profiles.share(OTHER)[i], abs=1e-3)
        tokens = {row["token"] for table in ("top_query_tokens", "top_key_tokens") for row in shown[table]}
        assert "" not in tokens and any("日本語" in token for token in tokens)
        assert sum(shown["histogram"]["bin_values"]) == profiles.n_pieces


def test_a_metric_that_was_not_measured_is_left_out() -> None:
    files = headvis_files(fake_text_profiles().replace(to_duplicate=[np.nan] * 2, n_duplicate=0))
    assert "duplicate_token_score" not in files["config.json"]["metrics"]  # no token came twice
    assert "copying_score" not in files["config.json"]["metrics"]
    assert files["scatter_data.json"][0]["previous_token_score"] == pytest.approx(0.85)


def test_files_of_others_are_kept_and_the_same_export_may_be_written_again(tmp_path: Path) -> None:
    profiles, other = fake_text_profiles(), fake_text_profiles([["<s>", "c", "d"]])
    export_headvis(profiles, tmp_path)
    export_headvis(profiles, tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(sl.StorageError):
        export_headvis(other, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before
    export_headvis(other, tmp_path, replace=True)
    assert read(tmp_path, "heads/L0H1.json")["sequences"][0]["tokens"] == ["<s>", "c", "d"]
