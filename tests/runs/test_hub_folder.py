"""A folder for the hub holds the fits and says what they are; only the hub itself is played here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard

import site_lens as sl
from site_lens.runs.hub_folder import from_hub, push_to_hub, save_for_hub
from tests.fakes import fake_evaluation, fake_fit, fake_fits, fake_identity

LLAMA = fake_identity("meta-llama/Llama-3.1-8B")


def text_of(folder: Path) -> str:
    return (folder / "README.md").read_text()


def test_fits_come_back_as_they_were_saved(tmp_path: Path) -> None:
    fits = fake_fits(["antonym", "country-capital"])
    assert save_for_hub(fits, tmp_path / "fits-for-all") == tmp_path / "fits-for-all"
    assert from_hub(tmp_path / "fits-for-all") == fits
    assert sl.Run.load(tmp_path / "fits-for-all").fits == fits


def test_the_card_says_what_the_fits_are(tmp_path: Path) -> None:
    config = sl.SiteConfig(n_prompts=5, n_shots=7)
    fits = fake_fits(["antonym", "plural"], model=LLAMA, config=config, notes=("merged | tokens\nhere",))
    evaluations = sl.Evaluations([fake_evaluation("antonym", model=LLAMA)])
    folder = save_for_hub(fits, tmp_path, evaluations=evaluations, license="mit")
    data, text = ModelCard.load(folder / "README.md").data.to_dict(), text_of(folder)
    assert (data["base_model"], data["library_name"], data["license"]) == (LLAMA.name, "site_lens", "mit")
    share = evaluations["antonym"].accuracy("site")
    heads = len(fits["antonym"].gates.above(0.5))
    row = next(line for line in text.splitlines() if line.startswith("| antonym |"))
    assert row.startswith(f"| antonym | 0 | 5 | 7 | converged | {heads} | 40 | 0.050 (")
    assert f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})" in row
    header, plural = (next(line for line in text.splitlines() if line.startswith(x)) for x in ("| task", "| plural"))
    assert header.count("|") == row.count("|") == plural.count("|")
    assert "Q: ...\nA:\n" in text
    assert "- merged \\| tokens here\n" in text
    assert "6 layers x 8 heads, d_head 4" in text
    assert sl.Run.load(folder).evaluations == evaluations


def test_each_seed_shows_its_own_accuracy(tmp_path: Path) -> None:
    fits = sl.SiteFits([fake_fit("antonym", seed) for seed in (3, 1)])
    evaluation = fake_evaluation("antonym", {"zero_shot": 0.1, "site": 0.5, "site#3": 0.8})
    save_for_hub(fits, tmp_path, evaluations=sl.Evaluations([evaluation]))
    rows = [line for line in text_of(tmp_path).splitlines() if line.startswith("| antonym |")]
    assert [line.split(" | ")[1] for line in rows] == ["3", "1"]
    assert [line.split(" | ")[-1][:5] for line in rows] == ["0.800", "0.500"]
    assert all("0.100 (" in line for line in rows)


def test_a_model_that_is_no_repository_is_named_but_not_linked(tmp_path: Path) -> None:
    for name in ("demo", "/models/llama", "./llama"):
        folder = save_for_hub(fake_fits(["antonym"], model=fake_identity(name)), tmp_path)
        assert "base_model" not in ModelCard.load(folder / "README.md").data.to_dict()
        assert f"| model | {name} |" in text_of(folder)
    folder = save_for_hub(fake_fits(["antonym"], model=fake_identity("demo")), tmp_path, base_model="me/demo")
    assert ModelCard.load(folder / "README.md").data.to_dict()["base_model"] == "me/demo"


def test_an_older_folder_is_replaced_not_mixed(tmp_path: Path) -> None:
    save_for_hub(fake_fits(["antonym", "plural"]), tmp_path)
    save_for_hub(fake_fits(["synonym"]), tmp_path)
    assert list(from_hub(tmp_path)) == ["synonym"]
    assert "antonym" not in text_of(tmp_path)


def test_what_does_not_belong_together_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    fits = fake_fits(["antonym"])
    other = sl.SiteFits([*fits.values(), fake_fit("plural", model=fake_identity("other"))])
    strange = sl.Evaluations([fake_evaluation("plural")])
    for mixed, evaluations, error in (
        (sl.SiteFits([]), None, sl.InputError),
        (other, None, sl.MismatchError),
        (fits, strange, sl.InputError),
    ):
        with pytest.raises(error):
            save_for_hub(mixed, tmp_path / "x", evaluations=evaluations)
    assert not (tmp_path / "x").exists()


# The hub, played


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Calls that reach the hub's client, which is played."""
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def __init__(self, **options: Any) -> None:
            pass

        def create_repo(self, repo_id: str, **options: Any) -> None:
            calls.append(("create_repo", {"repo_id": repo_id} | options))

        def upload_folder(self, **options: Any) -> SimpleNamespace:
            calls.append(("upload_folder", options))
            return SimpleNamespace(commit_url="https://huggingface.co/me/fits/commit/0")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return calls


def test_a_folder_is_pushed_with_its_records_and_card_alone(
    tmp_path: Path, hub: list[tuple[str, dict[str, Any]]]
) -> None:
    save_for_hub(fake_fits(["antonym"]), tmp_path)
    assert push_to_hub(tmp_path, "me/fits", private=True) == "https://huggingface.co/me/fits/commit/0"
    (made, options), (uploaded, given) = hub
    assert (made, uploaded) == ("create_repo", "upload_folder")
    assert options == {"repo_id": "me/fits", "private": True, "exist_ok": True}
    assert (given["repo_id"], given["folder_path"]) == ("me/fits", tmp_path)
    assert given["allow_patterns"] == ["README.md", "fits/antonym.json", "fits/antonym.safetensors"]


def test_an_incomplete_folder_is_not_pushed(tmp_path: Path, hub: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(sl.StorageError, match="holds no saved site_fit"):
        push_to_hub(tmp_path, "me/fits")
    fake_fits(["antonym"]).save(tmp_path / "fits")
    with pytest.raises(sl.StorageError, match=r"has no README.md; write it with save_for_hub"):
        push_to_hub(tmp_path, "me/fits")
    assert hub == []


def test_fits_are_read_from_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, asked = fake_fits(["antonym"]), []
    save_for_hub(fits, tmp_path)

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.append((repo_id, options["revision"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert from_hub("me/fits", revision="v1") == fits
    assert asked == [("me/fits", "v1")]


def test_an_error_of_the_hub_and_a_damaged_record_end_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(sl.StorageError, match="the hub did not serve 'me/fits': "):
        from_hub("me/fits")  # the tests are offline
    with pytest.raises(sl.InputError, match="is neither a folder nor the name of a repository"):
        from_hub(tmp_path / "nowhere" / "at" / "all")
    path = save_for_hub(fake_fits(["antonym"]), tmp_path) / "fits" / "antonym.json"
    path.write_text(path.read_text().replace("converged", "step_limit"))
    with pytest.raises(sl.StorageError, match="was edited"):
        from_hub(tmp_path)
