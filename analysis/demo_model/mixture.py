"""What the demo model is trained on: which rules, how often, and how their sequences go into batches of like length."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from analysis.demo_model.lexical_rules import Pairs, lexical_pairs
from analysis.demo_model.list_rules import ListRule, list_rules
from analysis.demo_model.sequences import (
    OTHER_TEMPLATES,
    SequenceWriter,
    Shot,
    TrainingSequence,
    random_mapping,
    repeated_tokens,
)
from analysis.demo_model.tokenizer import build_tokenizer, taught_words
from site_lens.tasks.prompt_template import PromptTemplate

Kind = Literal["short", "medium", "long", "mapping", "repeat"]
"""Rules by tokens an example in the default template (at most 7, at most 10, more), and the two without a rule."""
KINDS: tuple[Kind, ...] = get_args(Kind)

N_EXAMPLES = 11
"""Examples in a sequence of a rule: ten shots and a query."""
N_MAPPING_EXAMPLES = 16
N_REPEAT_TOKENS = 80
REPEAT_WEIGHT = 0.25
"""Loss weight of a repeated token; a sequence of them has many."""

RARE_SHARE = 1 / 8
RARE_RATE = 0.003
"""An eighth of the rows of a lexical rule is seldom shown, so that a model trained on all rows still has to guess."""

OTHER_TEMPLATE_RATE = 0.08
OTHER_TEMPLATE_RATE_MAPPING = 0.3
NO_BOS_RATE = 0.1


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    weight: float
    list_rule: ListRule | None = None
    common: Pairs = ()
    rare: Pairs = ()

    def draw(self, rng: random.Random) -> list[Shot]:
        if self.list_rule is not None:
            drawn = [self.list_rule(rng) for _ in range(N_EXAMPLES)]
            return [Shot(", ".join(words), answer) for words, answer in drawn]
        rows = rng.sample(self.common, min(N_EXAMPLES, len(self.common)))
        if self.rare:
            rows = [rng.choice(self.rare) if rng.random() < RARE_RATE else row for row in rows]
        return [Shot(x, y) for x, y in rows]


class Mixture:
    """Draws training sequences.

    Args:
        words: Words of the random mappings; the taught words when None.
    """

    def __init__(self, words: Sequence[str] | None = None) -> None:
        self.tokenizer = build_tokenizer()
        self.writer = SequenceWriter(self.tokenizer)
        self._words = tuple(taught_words() if words is None else words)
        self._rules: dict[Kind, list[_Rule]] = {"short": [], "medium": [], "long": []}
        for rule in [*_lexical_rules(), *_list_rules()]:
            self._rules[self._kind(rule)].append(rule)

    def _kind(self, rule: _Rule) -> Kind:
        shot = rule.draw(random.Random(0))[1]
        n_tokens = len(self.writer.write([shot], PromptTemplate(), bos=False).ids)
        return "short" if n_tokens <= 7 else "medium" if n_tokens <= 10 else "long"

    def rule_names(self, kind: Kind) -> list[str]:
        """Return the names of the rules of a kind."""
        return [rule.name for rule in self._rules.get(kind, [])]

    def draw(self, kind: Kind, rng: random.Random) -> TrainingSequence:
        """Draw one sequence of a kind."""
        if kind == "repeat":
            return repeated_tokens(
                rng,
                range(3, len(self.tokenizer)),
                bos=self.tokenizer.bos_token_id,
                period=round(2 * (N_REPEAT_TOKENS / 4) ** rng.random()),
                n_tokens=N_REPEAT_TOKENS,
                weight=REPEAT_WEIGHT,
            )
        if kind == "mapping":
            shots = random_mapping(rng, self._words, n_pairs=rng.randint(2, 6), n_shots=N_MAPPING_EXAMPLES)
            return self._write(rng, shots, OTHER_TEMPLATE_RATE_MAPPING)
        rules = self._rules[kind]
        (rule,) = rng.choices(rules, [rule.weight for rule in rules])
        return self._write(rng, rule.draw(rng), OTHER_TEMPLATE_RATE)

    def _write(self, rng: random.Random, shots: list[Shot], other_rate: float) -> TrainingSequence:
        template = rng.choice(OTHER_TEMPLATES) if rng.random() < other_rate else PromptTemplate()
        return self.writer.write(shots, template, bos=rng.random() >= NO_BOS_RATE)


def _lexical_rules() -> list[_Rule]:
    found = []
    for rules in lexical_pairs().values():
        for name, pairs in rules.items():
            rows = random.Random(f"rare {name}").sample(pairs, len(pairs))
            n_rare = int(len(rows) * RARE_SHARE) if len(rows) >= 30 else 0
            rare, common = tuple(rows[:n_rare]), tuple(rows[n_rare:])
            found.append(_Rule(name, _lexical_weight(name, len(pairs)), None, common, rare))
    return found


def _lexical_weight(name: str, n_rows: int) -> float:
    """Show large rules more often, and spelling, which must be learned word by word."""
    by_name = {"copy": 0.7, "word-twice": 0.7, "first_letter": 2.0, "last_letter": 2.0, "word_length": 2.0}
    return by_name.get(name, min(3.0, max(1.0, n_rows / 70)))


def _list_rules() -> list[_Rule]:
    """Show position rules most often: they are learned last."""
    by_start = {"pick": 0.7, "choose": 4.0, "odd": 2.0, "alphabetically": 2.0} | dict.fromkeys(
        ("reverse", "first", "last"), 1.5
    )
    return [
        _Rule(name, by_start.get(name.split("_")[0], 1.0), rule)
        for rules in list_rules().values()
        for name, rule in rules.items()
    ]
