"""A folder for the hub holds the fits and says what they are; only the hub itself is played here."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest
from huggingface_hub import ModelCard

import site_lens as sl
from site_lens.runs.hub_folder import _cell, from_hub, push_to_hub, save_for_hub
from tests.fakes import fake_evaluation, fake_fits, fake_identity

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
    assert r"6 layers x 8 heads, d\_head 4" in text
    assert sl.Run.load(folder).evaluations == evaluations


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The client of the hub, which is played."""
    client = MagicMock()
    client.upload_folder.return_value.commit_url = "https://huggingface.co/me/fits/commit/0"
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: client)
    return client


def test_a_folder_is_pushed_with_its_records_and_card_alone(tmp_path: Path, hub: MagicMock) -> None:
    save_for_hub(fake_fits(["antonym"]), tmp_path)
    assert push_to_hub(tmp_path, "me/fits", private=True) == "https://huggingface.co/me/fits/commit/0"
    hub.create_repo.assert_called_once_with("me/fits", private=True, exist_ok=True)
    given = hub.upload_folder.call_args.kwargs
    assert (given["repo_id"], given["folder_path"]) == ("me/fits", tmp_path)
    assert given["allow_patterns"] == ["README.md", "fits/antonym.json", "fits/antonym.safetensors"]


def test_the_target_of_a_link_is_not_uploaded(tmp_path: Path, hub: MagicMock) -> None:
    for name in ("README.md", "fits/antonym.json"):
        folder = save_for_hub(fake_fits(["antonym"]), tmp_path / Path(name).stem)
        target = (folder / name).rename(tmp_path / f"elsewhere {Path(name).name}")
        (folder / name).symlink_to(target)
        with pytest.raises(sl.StorageError):
            push_to_hub(folder, "me/fits")
    assert not hub.mock_calls


def test_a_cell_of_the_card_is_neither_bold_nor_a_link() -> None:
    shown = r"\_\_init\_\_ https\://x.example WWW\.x.example \[a\](b) \<s\>"
    assert _cell("__init__ https://x.example WWW.x.example [a](b) <s>") == shown
