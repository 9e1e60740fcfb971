"""Text profiles: laws on random models, and heads of which it is known what they look at."""

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import site_lens as sl
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.tokenization import Encoder
from site_lens.studies.text_profiles import measure
from site_lens.studies.text_profiles.measure import cut_text, shown_pieces, text_profiles
from site_lens.studies.text_profiles.result import FIRST, N_BINS, N_DECILES, OTHER, TextProfiles
from tests.planted import CARRIERS, LABELS
from tests.tiny_tokenizers import tiny_tokenizer

PREVIOUS, IDLE = "L0H0", "L2H4"
ANSWERS = ["Q u3: a Q u8: b Q u5: a Q u9: b", "Q u1: b Q u2: a Q u3: b", "Q v3: c Q v8: d Q v5: c Q v9: d Q v4: c"]
TEXTS = [
    "Q: hot\nA: cold\n\nQ: big\nA: small\n\nQ: hot\nA: cold",
    "one two one two three one two",
    "the dog sat",
    "hot",
]
SCRIPTS = '日本語 🤷🏽‍♀️ مرحبا l\'été <b>x</b> & "y"  \n'  # noqa: RUF001


@pytest.fixture(scope="module")
def planted_profiles(planted: LensModel) -> TextProfiles:
    return text_profiles(planted, ANSWERS, [PREVIOUS, *CARRIERS["u"], IDLE], progress=False)


@pytest.fixture(scope="module")
def profiles(demo: LensModel) -> TextProfiles:
    return text_profiles(demo, TEXTS, ["L0H1", "L1H6", "L0H5", "L4H2"], max_tokens=12, progress=False)


def test_the_previous_token_head_looks_at_the_token_before_and_nowhere_else(planted_profiles: TextProfiles) -> None:
    assert planted_profiles.heads[0] == PREVIOUS
    assert planted_profiles.previous()[0] == pytest.approx(1, abs=1e-5)
    assert planted_profiles.distances()[0] == pytest.approx([1, 0, 1, 1, 1], abs=1e-3)
    assert planted_profiles.entropy[0] == pytest.approx(0, abs=1e-4)
    assert planted_profiles.to_induction[0] == pytest.approx(0, abs=1e-5)
    peaks = planted_profiles.peaks()[0]
    assert (peaks[:, 0] - peaks[:, 1] == 1).all()


def test_a_carrier_looks_at_labels_and_an_idle_head_everywhere(planted_profiles: TextProfiles) -> None:
    table = planted_profiles.pieces_frame()
    top = table[(table["head"] == CARRIERS["u"][0]) & (table["decile"] == 10)]
    assert {key.strip() for key in top["key"]} <= {*LABELS["u"], *LABELS["v"]}
    lengths = [len(text.split()) for text in ANSWERS]
    idle = planted_profiles.heads.index(IDLE)
    entropies = [np.log(query + 1) for length in lengths for query in range(1, length)]
    assert planted_profiles.entropy[idle] == pytest.approx(np.mean(entropies), abs=1e-4)
    firsts = [1 / (query + 1) for length in lengths for query in range(1, length)]
    assert planted_profiles.share(FIRST)[idle] == pytest.approx(np.mean(firsts), abs=1e-5)


def test_an_induction_head_that_is_planted_by_hand_is_found() -> None:
    """Rows of attention are set by hand: each query looks at what followed the last earlier occurrence of its token."""
    tokens = [9, 1, 2, 3, 1, 2, 3, 1]
    pattern = torch.zeros(8, 8)
    for query, token in enumerate(tokens):
        earlier = [key for key in range(1, query) if tokens[key] == token]
        pattern[query, earlier[-1] + 1 if earlier else 0] = 1

    class Host:
        def read_attention(self, batch: Batch, layers: object, visit: object) -> None:
            visit(0, pattern[None, None], torch.zeros(1, 8, 1, 2))  # type: ignore[operator]

    totals = measure._Totals([sl.Head(0, 0)], 1, 8)
    totals.add(Host(), [0], Batch.of([tokens], pad=0, device=torch.device("cpu")))  # type: ignore[arg-type]
    fields = totals.fields()
    assert fields["n_queries"] == 7 and fields["n_duplicate"] == fields["n_induction"] == 4
    assert np.asarray(fields["to_induction"]) == pytest.approx([1])
    assert np.asarray(fields["to_duplicate"]) == pytest.approx([0])
    attention = np.asarray(fields["attention"])[0]
    assert attention[FIRST].sum() == pytest.approx(3 / 7)
    assert attention[OTHER, 2] == pytest.approx(4 / 7)


def test_shares_distances_and_activations_are_those_counted_token_by_token(
    demo: LensModel, profiles: TextProfiles
) -> None:
    pieces = [piece for text in TEXTS for piece in cut_text(demo.encoder, text, 12) if len(piece.ids) >= 3]
    heads = [sl.Head.parse(head) for head in profiles.heads]
    attention = np.zeros((4, 2, profiles.attention.shape[2]))
    same, after, active, n, counts = np.zeros(4), np.zeros(4), [], 0, [0, 0]
    for piece in pieces:
        ids = piece.ids.tolist()
        a = demo.attention(Batch.of([ids], pad=0, device=demo.device), heads)[0].double().numpy()
        active.append([max(one[q, k] for q in range(2, len(ids)) for k in range(1, q)) for one in a])
        for q in range(1, len(ids)):
            n += 1
            earlier = [k for k in range(1, q) if ids[k] == ids[q]]
            counts[0] += bool(earlier)
            counts[1] += any(k + 1 < q for k in earlier)
            same += a[:, q, earlier].sum(1)
            after += a[:, q, [k + 1 for k in earlier if k + 1 < q]].sum(1)
            attention[:, FIRST, q] += a[:, q, 0]
            for k in range(1, q + 1):
                attention[:, OTHER, q - k] += a[:, q, k]
    assert (profiles.n_pieces, profiles.n_queries) == (len(pieces), n)
    assert [profiles.n_duplicate, profiles.n_induction] == counts and min(counts) > 0
    assert profiles.attention == pytest.approx(attention / n, abs=1e-5)
    assert profiles.attention.sum((1, 2)) == pytest.approx(np.ones(4), abs=1e-5)
    assert profiles.to_duplicate == pytest.approx(same / counts[0], abs=1e-5)
    assert profiles.to_induction == pytest.approx(after / counts[1], abs=1e-5)
    assert profiles.activations.sum(1).tolist() == [len(pieces)] * 4
    highest = profiles.query_activations().max(-1)[:, 0]
    assert highest == pytest.approx(np.max(active, axis=0), abs=1e-4)
    bins = np.histogram(np.round(active, 4)[:, 0], bins=np.linspace(0, 1, N_BINS + 1))[0]
    assert profiles.activations[0].tolist() == bins.tolist()


def test_what_is_written_at_a_peak_is_the_direct_logits_of_z_there(demo: LensModel, profiles: TextProfiles) -> None:
    from site_lens.models.weights import direct_logits

    (layer, head), h = (4, 2), profiles.heads.index("L4H2")
    text = {piece.tokens: piece.ids.tolist() for text in TEXTS for piece in cut_text(demo.encoder, text, 12)}
    for s in range(2):
        ids = text[profiles.pieces[int(profiles.shown[h, s])]]
        query, key = profiles.peaks()[h, s]
        z = demo.last_z(Batch.of([ids[: query + 1]], pad=0, device=demo.device))[:, layer]
        alone = torch.zeros_like(z)
        alone[:, head] = z[:, head]
        logits = direct_logits(demo, layer, alone)[0]
        logits = logits - logits.mean()
        best = logits.topk(5)
        assert profiles.peak_written[h, s] == pytest.approx(best.values.numpy(), abs=1e-3)
        assert profiles.peak_tokens[h][s] == tuple(demo.encoder.texts(best.indices.tolist()))
        assert profiles.attended_logit[h, s] == pytest.approx(float(logits[ids[key]] / logits.std()), abs=1e-3)


def test_neither_order_nor_batches_of_the_texts_matter(
    demo: LensModel, profiles: TextProfiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "TOKENS_AT_ONCE", 20)
    other = text_profiles(demo, TEXTS[::-1], ["L4H2", "L0H1", "L1H6", "L0H5"], max_tokens=12, progress=False)
    for name in ("heads", "pieces", "deciles", "text_digest", "n_queries", "written_tokens"):
        assert getattr(other, name) == getattr(profiles, name), name
    for name in ("attention", "entropy", "to_induction", "weights", "peak_written", "attended_logit", "copying"):
        assert np.allclose(getattr(other, name), getattr(profiles, name), atol=2e-4), name
    assert np.array_equal(other.shown, profiles.shown)


def test_deciles_hold_a_tenth_each_and_the_highest_come_first() -> None:
    stream = np.random.default_rng(0)
    activations = stream.uniform(size=(57, 3)).astype(np.float32)
    deciles, shown = shown_pieces(activations, n_top=4, n_others=2)
    assert deciles == (*[10] * 4, *itertools.chain(*([d] * 2 for d in range(9, 0, -1))))
    for head in range(3):
        values = activations[shown[head], head]
        assert (np.diff(values) < 0).all()
        assert values[:4].tolist() == np.sort(activations[:, head])[::-1][:4].tolist()
        places = (activations[:, head][None] > values[:, None]).sum(1)  # pieces above each
        assert [10 - place * 10 // 57 for place in places] == list(deciles)


def test_few_pieces_leave_deciles_empty_and_equal_activations_keep_the_order() -> None:
    deciles, shown = shown_pieces(np.zeros((3, 2), np.float32), n_top=8, n_others=2)
    assert len(deciles) == 3 and set(deciles) <= set(range(1, N_DECILES + 1))
    assert shown.tolist() == [[0, 1, 2]] * 2


def test_pieces_are_the_text_and_none_begins_inside_a_character() -> None:
    for kind in ("demo", "gpt2", "llama3", "qwen", "mistral", "opt"):
        encoder = Encoder(tiny_tokenizer(kind), bos=None, n_ctx=64)
        opening = "".join(encoder.texts(encoder.begin))
        for text, width in ((SCRIPTS, 40), (SCRIPTS * 3, 17), ("hot", 8)):
            pieces = list(cut_text(encoder, text, width))
            assert "".join(piece.text.removeprefix(opening) for piece in pieces) == text, kind
            assert [i for p in pieces for i in p.ids[len(encoder.begin) :]] == encoder.spans(text)[0], kind
            for piece in pieces:
                assert "".join(piece.tokens) == piece.text
                assert len(piece.tokens) == len(piece.ids) <= width
                assert "\N{REPLACEMENT CHARACTER}" not in piece.text
    (emoji,) = cut_text(Encoder(tiny_tokenizer("gpt2"), bos=None, n_ctx=64), "a🤷b", 64)
    assert [token for token in emoji.tokens if token] == ["a", "🤷", "b"] and len(emoji.ids) == 6


def test_copying_is_missing_with_a_reason_where_weights_cannot_be_read(
    demo: LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: LensModel, heads: object) -> list[float]:
        raise sl.ModelError("quantised")

    monkeypatch.setattr("site_lens.studies.head_profiles.measure.copying_scores", refuse)
    found = text_profiles(demo, TEXTS[:1], ["L0H0"], progress=False)
    assert found.copying is None and found.copying_missing == "quantised"
    assert np.isnan(found.frame()["copying"]).all()


def test_texts_come_from_files_and_tables_and_short_pieces_are_counted(demo: LensModel, tmp_path: Path) -> None:
    plain, table = tmp_path / "texts.txt", tmp_path / "texts.csv"
    texts = ["one two\nthree four", "hot cold big"]
    plain.write_text(texts[0] + "\n \n" + texts[1] + "\n\n\n")
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text"], *([text] for text in texts)])
    expected = text_profiles(demo, texts, ["L0H0"], progress=False)
    assert text_profiles(demo, table, ["L0H0"], progress=False) == expected
    assert text_profiles(demo, plain, ["L0H0"], progress=False).n_pieces == 2
    short = text_profiles(demo, [*texts, "a"], ["L0H0"], progress=False)
    assert (short.n_pieces, len(short.notes)) == (2, 1)


def test_bad_input_ends_in_one_line(demo: LensModel, tmp_path: Path) -> None:
    empty, wrong = tmp_path / "empty.txt", tmp_path / "table.csv"
    empty.write_text("\n \n")
    wrong.write_text("word\nhot\n")
    for texts in ([], ["a"], [""], "one text", empty, wrong, tmp_path / "none.txt"):
        with pytest.raises(sl.InputError):
            text_profiles(demo, texts, ["L0H0"], progress=False)
    wrong_options: list[dict[str, Any]] = [{"heads": []}, {"heads": ["L99H0"]}, {"max_tokens": 3}, {"n_top": 0}]
    for options in wrong_options:
        with pytest.raises(sl.InputError):
            text_profiles(demo, TEXTS, progress=False, **options)


def test_a_tokenizer_that_does_not_name_characters_is_refused(demo: LensModel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False

    monkeypatch.setattr(demo.encoder, "tokenizer", Slow())
    with pytest.raises(sl.InputError):
        demo.encoder.spans("one two three")
