"""Every prompt has the tokens that the published code gives it; see golden/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

import site_lens as sl
from site_lens.models.base import LensModel
from tests.conftest import Tasks

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["antonym", "english-french"])
def test_every_prompt_and_target_has_the_published_tokens(demo: LensModel, demo_tasks: Tasks, name: str) -> None:
    task, published, template = demo_tasks[name], golden(f"demo_{name}"), sl.PromptTemplate()

    def tokens(prompt: sl.Prompt) -> tuple[list[int], int]:
        _, (answer,), _ = demo.encoder.encode_answers([prompt.text], [prompt.answer])
        return demo.encoder.encode([prompt.text])[0], answer[0]

    for drawn in published["embedding_prompts"]:
        *shots, query = (task.train[i] for i in drawn["train_rows_shots_then_query"])
        assert tokens(template.render(shots, query))[0] == drawn["token_ids"]
    for step in published["training_steps"]:
        assert tokens(template.render([], task.train[step["train_row"]])) == (step["token_ids"], step["target"])
    assert [tokens(template.render([], row)) for row in task.test] == [
        (query["token_ids"], query["target"]) for query in published["test_queries"]
    ]


def test_queries_of_digits_have_the_published_text() -> None:
    published = golden("next_item_digit_queries")
    assert len(published) == 9
    for row in published:
        query = sl.Example(row["input"], row["output"])
        assert sl.PromptTemplate().render([], query) == sl.Prompt(row["published_prompt"], (row["output"],))
        assert sl.PromptTemplate(digit_rule=True).render([], query).text == f"Q: {row['input']}\nA:"  # that of 0.1.0
