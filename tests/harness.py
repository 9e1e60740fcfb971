"""Tasks of the evaluation harness in local files, for tests."""

import json
from pathlib import Path
from typing import Any

WORDS: list[dict[str, Any]] = [{"word": f"in {i}", "answer": f"out {i}", "label": i % 2} for i in range(20)]

SPLITS = {"training_split": "train", "validation_split": "validation", "test_split": "test"}


def write_task(folder: Path, rows: dict[str, list[dict[str, Any]]], **fields: Any) -> Path:
    """Write a harness task with the rows of each split; a field that is None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, of_split in rows.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in of_split), encoding="utf-8")
        files[split] = str(path)
    config: dict[str, Any] = {
        "task": "words", "dataset_path": "json", "output_type": "multiple_choice", "doc_to_text": "Q: {{word}}\nA:",
        "doc_to_target": "answer", "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
    }  # fmt: skip
    config |= {name: split for name, split in SPLITS.items() if split in rows} | fields
    path = folder / "task.yaml"  # JSON is YAML
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}), encoding="utf-8")
    return path
