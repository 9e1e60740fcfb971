from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.records.collections import file_name
from tests.fakes import fake_evaluation, fake_fit, fake_fits, fake_identity
from tests.samples import gates, laws

TINY = fake_identity(grid=sl.HeadGrid.full(1, 2))

NASTY = [
    "../x", "../../../etc/passwd", "a/b", "/etc/passwd", "<script>alert(1)</script>", "x" * 300, "", ".", "..", " ",
    "~", "a.json", "a\\b", "C:\\x", "a\nb", "a\0b", "ünïcödé", "日本語", "%2e%2e%2f", "*?[a]", "-rf", "$HOME", "{}",
]  # fmt: skip


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_any_task_name_is_saved_inside_the_folder_and_comes_back(tmp_path: Path) -> None:
    for i, name in enumerate(NASTY):
        folder = tmp_path / str(i) / "fits"
        sl.SiteFits([fake_fit(name, model=TINY)]).save(folder)
        assert list(sl.SiteFits.load(folder)) == [name]
        assert [path.parent for path in files_below(tmp_path / str(i))] == [folder, folder], name
    fits = fake_fits(["a/b", "a.b", "a_b", "a b"], model=TINY)  # which differ in one unsafe letter
    fits.save(tmp_path / "like")
    assert dict(sl.SiteFits.load(tmp_path / "like")) == dict(fits)


@laws
@given(st.sets(st.text(max_size=120) | st.text("ab-.", min_size=68, max_size=90), max_size=20))
def test_every_key_makes_a_plain_file_name_of_its_own_which_names_itself(keys: set[str]) -> None:
    names = [file_name(key) for key in keys]
    assert len(set(names)) == len(names)
    for name in names:
        assert 0 < len(name) <= 80
        assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name)
        assert file_name(name) == name


def test_file_names_stay_what_they_were() -> None:
    names = {"a/b": "a_b-f5effa31", "": "-12ae32cb", "x" * 80: "x" * 80, "x" * 70 + "?": "x" * 70 + "_-849c0da5"}
    plain = ("antonym", "country-capital", "choose_first_of_3", "A1")
    for key, name in (names | dict.fromkeys(plain) | {key: key for key in plain}).items():
        assert file_name(key) == name
    for device in ("con", "NUL", "Aux", "com1", "LPT9", "prn"):
        assert file_name(device).startswith(f"{device}-")


def test_two_records_of_one_name_are_refused_not_dropped() -> None:
    with pytest.raises(sl.InputError, match="two records called 'antonym'; keep them in separate sets"):
        sl.Evaluations([fake_evaluation("antonym"), fake_evaluation("antonym", seed=1)])


def test_a_folder_without_sound_records_of_the_kind_is_refused(tmp_path: Path) -> None:
    fits = fake_fits(["antonym", "synonym"], model=TINY)
    sl.save(gates(), fits.save(tmp_path / "mixed") / "gates")
    (fits.save(tmp_path / "damaged") / "synonym.safetensors").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "mixed", tmp_path / "damaged"):
        with pytest.raises(sl.StorageError):
            sl.SiteFits.load(folder)
    with sl.reading_limits(sl.Limits(record_files=1)), pytest.raises(sl.StorageError, match=r"Limits\.record_files"):
        sl.SiteFits.load(tmp_path / "mixed")


def test_names_that_differ_in_case_alone_are_refused_before_one_overwrites_the_other(tmp_path: Path) -> None:
    with pytest.raises(sl.InputError):
        fake_fits(["French", "plural", "french"], model=TINY).save(tmp_path / "fits")
    assert not (tmp_path / "fits").exists()
