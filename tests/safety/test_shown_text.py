"""Names and texts of others are shown, and do nothing: on a page, in a figure, on a card, on a terminal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import site_lens as sl
from site_lens.cli import main
from site_lens.records.terminal_escape import visible
from tests.fake_studies import fake_ablation, fake_arithmetic, fake_content, fake_landscape, fake_sensitivity
from tests.fakes import ACCURACIES, fake_attention, fake_evaluation, fake_fit, fake_identity, fake_transfer
from tests.report.test_report import Tags, unpacked

EVIL = [
    "<script>document.title='owned'</script>",
    "</script></style><img src=x onerror=\"document.title='owned'\">",
    "<a href='javascript:document.title=1'>x</a><b onmouseover=alert(1)>b</b>",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J\r\b\x00",
    "[bold]x[/bold] [link=https://example.org]y[/link]",
    "\u202eevil\u2066\u200b\u200e \u2028 %{x} {{ 7 * 7 }} ${7} &lt;i&gt;",
]
"""Names that act wherever somebody forgot that a name is only a name."""

ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def evil_run() -> sl.Run:
    """Build a run in which every name and text is one of them."""
    text = " ".join(EVIL)
    model = fake_identity(text, revision=text, architecture=text)
    template = sl.PromptTemplate(instruction=text)
    fits = sl.SiteFits(
        fake_fit(name, model=model, notes=(text,), family=text, shared_with=(text,), template=template) for name in EVIL
    )
    methods = ACCURACIES | dict.fromkeys(EVIL, 0.4)
    studies = {
        "transfer": fake_transfer(EVIL, families=EVIL, model=model),
        "sensitivity": fake_sensitivity(tasks=(EVIL[0], EVIL[1]), n_queries=20),
        "content": fake_content(tasks=(EVIL[0], EVIL[1])),
        "landscape": fake_landscape(task=text),
        "ablation": fake_ablation({"default": 0.5} | dict.fromkeys(EVIL, 0.8), tasks=EVIL[:2]),
        "arithmetic": fake_arithmetic([0.9], [0.1], weights=[0.5], tasks=(EVIL[0], EVIL[1])),
    }
    scores = {
        name: sl.ScoresByTask(fit.gates.replace(selector=text, task=fit.task, meaning=text) for fit in fits.values())
        for name in ("site", "other")
    }
    return sl.Run(
        fits=fits,
        controls={"site_zero_embedding": fits},
        evaluations=sl.Evaluations(fake_evaluation(name, methods, notes=(text,), model=model) for name in EVIL),
        attention=sl.AttentionSamples(
            fake_attention(name, tokens=(tuple(EVIL[:5]), tuple(EVIL[1:6])), model=model) for name in EVIL
        ),
        scores=scores,
        studies=studies,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run on disk."""
    return evil_run().save(tmp_path_factory.mktemp("evil") / "run")


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from texts_in(child)


OWN_TAGS = re.compile(r'</?(?:b|br|extra)>|<span style="color:#[0-9A-F]{6}">|</span>')
"""What our own figures write into their texts."""


def test_no_name_becomes_an_element_a_script_a_link_or_a_tag(saved: Path, tmp_path: Path) -> None:
    run = sl.Run.load(saved)
    assert run == evil_run()
    for path, n_figures in (
        (sl.write_report(run, tmp_path / "report.html", title=EVIL[1]), 20),
        (sl.write_comparison(sl.head_overlap(run.fits), tmp_path / "comparison.html"), 3),
    ):
        page = path.read_text(encoding="utf-8")
        tags = Tags(page).found
        assert {"img", "iframe", "object", "embed", "form", "base"}.isdisjoint(tag for tag, _ in tags)
        assert all((attributes.get("href") or "#").startswith(("#", "data:,")) for _, attributes in tags)
        assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]
        assert [attributes.get("type") for tag, attributes in tags if tag == "script"].count(None) == 1  # our own
        plain = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.S)
        figures = re.findall(r'<script type="application/json" id="[^"]+-data">(.*?)</script>', page, flags=re.S)
        assert len(figures) >= n_figures
        for text in (text for part in figures for text in texts_in(json.loads(part))):
            assert not re.search(r"<[a-zA-Z/!]", OWN_TAGS.sub("", text)), text[:200]
        packed = re.findall(r'<script type="application/gzip">(.*?)</script>', page, flags=re.S)
        drawn = [text for part in (*plain, *map(unpacked, packed)) for text in texts_in(json.loads(part))]
        for text in (re.sub(r"<script.*?</script>", "", page, flags=re.S), *drawn):
            assert ACTING.search(text.replace("\t", " ")) is None, text[:200]


def test_no_name_acts_in_the_card(tmp_path: Path) -> None:
    run = evil_run()
    evaluations = sl.Evaluations(fake_evaluation(name, model=fake_identity()) for name in EVIL)
    sl.save_for_hub(run.fits, tmp_path, evaluations=evaluations)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    head, body = card.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---\n"))["library_name"] == "site_lens"
    assert "base_model" not in head
    prose: list[str] = []
    code: list[str] = []
    for i, part in enumerate(re.split(r"^(?:~~~~+|```)(?:text|python)?$", body, flags=re.M)):
        (code if i % 2 else prose).append(part)
    assert len(code) == 2
    text = "\n".join(prose)
    assert ACTING.search(card) is None
    assert not re.search(r"(?<!\\)<[a-zA-Z/!]", text)
    assert "](" not in re.sub(r"\[arXiv 2507.20906\]\(https://arxiv.org/abs/2507.20906\)|\\\]\(", "", text)
    compile(code[1], "card", "exec")
    names = {line.count(" | ") for line in text.splitlines() if line.startswith("| \\") or line.startswith("| \\x1b")}
    assert len(names) == 1  # as many cells in every row


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert ACTING.search(out + err) is None
    return out + err


def test_no_name_acts_on_the_terminal(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"input": text, "output": text} for text in EVIL]
    (tmp_path / f"[red]{EVIL[3][:4]}.json").write_text(json.dumps(rows))
    out = str(tmp_path / "\x1b[2J.html")
    for as_json in ([], ["--json"]):
        listed = printed(capsys, "tasks", "list", str(tmp_path), *as_json)
        assert ("\\u001b[31" if as_json else "\\x1b[31") in listed
        assert "[red]" in listed
        printed(capsys, "tasks", "audit", str(tmp_path), *as_json)
        assert ("\\u001b" if as_json else "\\x1b[31mred") in printed(capsys, "diagnose", str(saved), *as_json)
        compared = printed(capsys, "compare", str(next((saved / "fits").glob("*.json"))), str(saved), *as_json)
        assert as_json or "[bold]" in compared.replace("\n", "")
    printed(capsys, "report", str(saved), "--out", out)
    assert "\\x1b[2J.html" in printed(capsys, "report", str(tmp_path / "\x1b[2J.html"))


@given(st.text(st.characters()))
def test_what_is_visible_is_made_of_characters_that_only_show_and_says_the_same(text: str) -> None:
    shown = visible(text)
    assert ACTING.search(shown) is None
    assert "\n" not in shown
    shown.encode()
    assert visible(shown) == shown
    assert visible(text, keep="\n").count("\n") == text.count("\n")
    ordinary = "".join(letter for letter in text if letter.isprintable())
    assert visible(ordinary) == ordinary
