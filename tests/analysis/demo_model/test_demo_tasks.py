from itertools import chain

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from analysis.demo_model.build_tasks import tasks_json
from analysis.demo_model.lexical_rules import lexical_pairs
from analysis.demo_model.list_rules import CATEGORIES
from analysis.demo_model.tasks import build_demo_tasks
from site_lens.records.assets import DEMO_MODEL, DEMO_TASKS
from site_lens.tasks.prompt_sampling import few_shot_prompts
from site_lens.tasks.prompt_template import PromptTemplate
from site_lens.tasks.task import SPLITS, Example, Task

TASKS = {task.name: task for task in build_demo_tasks()}


def rows_of(task: Task) -> list[Example]:
    return [row for split in SPLITS for row in getattr(task, split)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(DEMO_MODEL)


def test_the_committed_asset_is_what_the_generator_builds() -> None:
    assert DEMO_TASKS.read_bytes().decode() == tasks_json(TASKS.values())


def test_no_input_occurs_twice_and_an_audit_finds_no_conflict() -> None:
    for name, task in TASKS.items():
        audit, inputs = task.audit(), [row.input for row in rows_of(task)]
        assert (audit.test_in_train, audit.conflicting_inputs, audit.duplicates) == (0, 0, 0), name
        assert len(inputs) == len(set(inputs)), name


def test_every_word_of_every_rule_is_one_token_of_the_demo_model(tokenizer: PreTrainedTokenizerBase) -> None:
    lexical = {
        text for rules in lexical_pairs().values() for pairs in rules.values() for pair in pairs for text in pair
    }
    words = {word for text in lexical for word in text.replace(",", "").split()} | set(chain(*CATEGORIES.values()))
    words = {word for word in words if not word.isdecimal()}
    assert [word for word in sorted(words) if len(tokenizer.tokenize(f" {word}")) != 1] == []


def test_ten_shot_prompts_fit_read_back_and_their_tokens_begin_those_with_the_answer(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    template = PromptTemplate()
    for name, task in TASKS.items():
        stream = np.random.default_rng(0)
        for prompt in few_shot_prompts(task, task.test[:5], template, n_shots=10, stream=stream).prompts:
            before, text = tokenizer(prompt.text).input_ids, prompt.text + prompt.answer + template.output_separator
            ids = tokenizer(text).input_ids
            assert ids[: len(before)] == before, name
            assert tokenizer.convert_ids_to_tokens(ids).count("A:") == 11, name
            assert tokenizer.convert_ids_to_tokens(ids[-1]) == "\n\n", name
            assert len(ids) <= tokenizer.model_max_length, name
            assert tokenizer.decode(ids, skip_special_tokens=True) == text, name
