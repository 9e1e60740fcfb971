"""The table of chosen learning rates reads what the choice of a checkpoint notes."""

from analysis.compare_methods import choices_table
from site_lens.selectors.validation import Checkpoint, choose_checkpoint


def test_every_choice_is_counted_under_the_rate_that_won() -> None:
    notes = ["a note of something else"]
    for task, losses in {"one": (3, 1, 2), "two, of three": (1, 2, 3), "three": (1, 3, 2)}.items():
        runs = {lr: [Checkpoint(50, loss, None)] for lr, loss in zip((3e-4, 1e-3, 3e-3), losses, strict=True)}
        notes += choose_checkpoint(f"lora of {task!r}", runs, n_steps=200).notes
    row = choices_table(notes).splitlines()[-1]
    assert row == "| `lora` | 0.0003: 67%, 0.001: 33%, 0.003: 0% | 25% |"
