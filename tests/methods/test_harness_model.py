"""The model of the evaluation harness: plain it scores what `transformers` scores, under a fit what evaluations do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import site_lens as sl
from site_lens.models.batch import Batch
from site_lens.records.assets import DEMO_MODEL
from site_lens.site.fit import Pair
from tests.harness import write_task

pytest.importorskip("lm_eval")

PROMPT = "Q: hot\nA: cold\n\nQ: early\nA: late\n\nQ: big\nA:"
PAIRS = [
    (PROMPT, " small"),
    (PROMPT, " large and small"),
    ("Q: big \nA: ", "small"),  # the space at the end belongs to the continuation
    ("", " small"),
    ("Q:", " hot"),
    (PROMPT + " small\n\nQ: old\nA:", " été"),
]


def requests_of(kind: str, *args: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, 0) for each in args]


@pytest.fixture(scope="module")
def pair(demo: sl.LensModel, demo_tasks: dict[str, sl.Task]) -> Pair:
    tasks = {"antonym": demo_tasks["antonym"]}
    embedding = sl.capture_embeddings(demo, tasks, n_prompts=4, n_shots=3)["antonym"]
    return sl.HeadGates.constant(demo.grid, 0.5), embedding


def test_the_plain_model_scores_and_writes_what_the_harness_own_model_does(demo: sl.LensModel) -> None:
    from lm_eval.models.huggingface import HFLM

    hf_model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype="float32")
    hf_model.generation_config.eos_token_id = demo.encoder.eos  # that of the tokenizer, as here
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL)
    own = HFLM(pretrained=hf_model, tokenizer=tokenizer, device="cpu", batch_size=2)
    without_bos = HFLM(pretrained=hf_model, tokenizer=tokenizer, device="cpu", add_bos_token=False, max_length=9)
    lm = sl.SiteLM(demo)
    asked = requests_of("loglikelihood", *PAIRS)
    expected, scores = own.loglikelihood(asked, disable_tqdm=True), lm.loglikelihood(asked)
    assert [total for total, _ in scores] == pytest.approx([total for total, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in scores] == [greedy for _, greedy in expected] and scores[0][1]
    assert (lm.prefix_token_id, lm.eot_token_id) == (own.prefix_token_id, own.eot_token_id)

    class Short(sl.SiteLM):
        max_length = 9  # tokens of a window

    asked = requests_of("loglikelihood_rolling", ("Q: hot\nA: cold",), (PROMPT,), ("",))
    expected = without_bos.loglikelihood_rolling(asked[:2], disable_tqdm=True)
    assert Short(demo).loglikelihood_rolling(asked) == pytest.approx([*expected, 0.0], abs=1e-3)

    stops: list[dict[str, Any]] = [
        {"until": ["\n"], "max_gen_toks": 5},
        {"until": "l", "max_gen_toks": 5},
        {"until": [], "max_new_tokens": 3, "do_sample": False, "temperature": 0.0},
        {"until": [" small"], "max_gen_toks": 4},
    ]
    asked = requests_of("generate_until", *((PROMPT, given) for given in stops), ("Q: tall\nA:", stops[0]))
    assert lm.generate_until(asked) == own.generate_until(asked, disable_tqdm=True)
    assert lm.generate_until(asked)[:2] == [" small", " sma"]


def test_the_last_context_token_is_edited_and_no_other(demo: sl.LensModel, pair: Pair) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    def in_full(context: list[int], continuation: list[int]) -> float:
        total = 0.0
        for n, token in enumerate(continuation):
            batch = Batch.of([context + continuation[:n]], pad=0, device=demo.device)
            with torch.no_grad():
                logits = demo.forward(batch, sl.injection_edits(demo, *pair, column=-1 - n))
            total += float(logits.log_softmax(-1)[0, token])
        return total

    lm, ids = sl.SiteLM(demo, pair), demo.encoder.ids
    scores = [total for total, _ in lm.loglikelihood(requests_of("loglikelihood", *PAIRS))]
    contexts = [ids([context.rstrip(" ")])[0] for context, _ in PAIRS]
    wholes = [ids([context + continuation])[0] for context, continuation in PAIRS]
    split = [(context, whole[len(context) :]) for context, whole in zip(contexts, wholes, strict=True)]
    assert contexts[3] == [demo.encoder.tokenizer.bos_token_id]  # the empty context: BOS is edited
    assert scores == pytest.approx([in_full(*each) for each in split], abs=1e-3)
    (rolled,) = lm.loglikelihood_rolling(requests_of("loglikelihood_rolling", (PROMPT,)))
    windows = get_rolling_token_windows(ids([PROMPT])[0][1:], lm.prefix_token_id, lm.max_length, 1)
    assert rolled == pytest.approx(sum(in_full(*make_disjoint_window(window)) for window in windows), abs=1e-3)
    prompts, edits = ["Q: big\nA:", "Q: early\nA:"], sl.injection_edits(demo, *pair)
    made = [text.partition("\n")[0] for text in sl.generate(demo, prompts, edits, max_new_tokens=4)]
    asked = requests_of("generate_until", *((p, {"until": ["\n"], "max_gen_toks": 4}) for p in prompts))
    assert lm.generate_until(asked) == made != sl.SiteLM(demo).generate_until(asked)


def test_results_are_kept_in_the_cache_of_the_harness(demo: sl.LensModel, tmp_path: Path) -> None:
    from lm_eval.api.model import CachingLM

    lm = sl.SiteLM(demo)
    cached = CachingLM(lm, str(tmp_path / "cache.db"))
    asked = [
        requests_of("loglikelihood", *PAIRS[:2]),
        requests_of("loglikelihood_rolling", ("Q: hot",), (PROMPT,)),
        requests_of("generate_until", (PROMPT, {"until": ["\n"], "max_gen_toks": 3})),
    ]
    direct = [getattr(lm, each[0].request_type)(each) for each in asked]  # which tells the cache, request by request
    assert len(cached.dbdict) == 5
    assert [getattr(cached, each[0].request_type)(each) for each in asked] == direct
    cached.dbdict.close()


def test_the_harness_evaluates_a_fit_on_its_task(
    demo: sl.LensModel, demo_tasks: dict[str, sl.Task], tmp_path: Path
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    antonym = demo_tasks["antonym"]
    rows = {
        split: [{"word": row.input, "opposite": row.output} for row in of_split[:12]]
        for split, of_split in (("train", antonym.train), ("test", antonym.test))
    }
    fields = {"task": "antonym", "output_type": "loglikelihood", "doc_to_target": " {{opposite}}"}
    task_file = write_task(tmp_path, rows, **fields)
    template = sl.PromptTemplate.bare(space_before_output=False)
    task = sl.load_task(f"lm_eval:{task_file}")
    config = sl.SiteConfig(n_prompts=2, n_shots=2, n_steps=5, n_valid=1)
    fit = sl.fit_site(demo, task, config, template=template)["antonym"]
    measured = sl.evaluate(demo, task, {"antonym": (fit.gates, fit.embedding)}, n_shots=1, generated=True)["antonym"]
    lm = sl.SiteLM(demo, fit)
    done = lm_eval.simple_evaluate(
        lm, tasks=[str(task_file)], task_manager=TaskManager(include_defaults=False), bootstrap_iters=0
    )
    right = [sample["acc"] for sample in done["samples"]["antonym"]]
    assert len(right) == len(task.test) and done["results"]["antonym"]["acc,none"] == np.mean(right)
    assert measured.query_rows is not None and measured.exact is not None
    places = {task.test[row].input: i for i, row in enumerate(measured.query_rows)}
    exact = measured.exact[measured.methods.index("site")]
    assert right == [exact[places[f"Q: {sample['doc']['word']}\nA:"]] for sample in done["samples"]["antonym"]]
    assert done["config"]["site_lens_fit"] == "antonym" and done["config"]["site_lens_seed"] == fit.seed
    assert done["config"]["site_lens_notes"] == [] and done["max_length"] == demo.encoder.n_ctx


def test_chats_are_written_by_the_template_of_the_tokenizer(
    demo: sl.LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, chat = sl.SiteLM(demo), [{"role": "user", "content": "hot"}]
    with pytest.raises(sl.InputError):
        lm.apply_chat_template(chat)
    template = "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}:{% endif %}"
    monkeypatch.setattr(demo.encoder.tokenizer, "chat_template", template)
    assert lm.apply_chat_template(chat) == "<hot>:" and lm.chat_template(True) == template
    assert lm.apply_chat_template([*chat, {"role": "assistant", "content": "c"}], False).startswith("<hot><c")


def test_what_it_cannot_do_is_refused(demo: sl.LensModel, pair: Pair, planted: sl.LensModel) -> None:
    lm, long = sl.SiteLM(demo), "hot " * demo.encoder.n_ctx
    asked: list[tuple[str, tuple[Any, ...]]] = [
        ("loglikelihood", ("", "")),
        ("loglikelihood", (long, " cold")),
        ("loglikelihood", (PROMPT, " cold", {"visual": []})),
        ("generate_until", (PROMPT, {"do_sample": True, "temperature": 1.0})),
        ("generate_until", (PROMPT, {"num_beams": 2})),
        ("generate_until", (PROMPT, {"max_gen_toks": demo.encoder.n_ctx})),
    ]
    for kind, args in asked:
        with pytest.raises(sl.InputError) as info:
            getattr(lm, kind)(requests_of(kind, args))
        assert len(str(info.value).splitlines()) == 1, args
    with pytest.raises(sl.MismatchError):
        sl.SiteLM(planted, pair)
    for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        assert getattr(lm, kind)([]) == []
