"""A small GPT-2 with weights set by hand, in which a known set of heads alone carries the task.

A task maps words of two classes to two labels: directly, or swapped. Prompts read `Q u3: a Q u8: b Q u5:`, so that the
last token is the query itself. Layer 0 brings each answer the class of the word before it (head L0H0) and multiplies
it with the label: the code, +1 or -1, says which of the two tasks a demonstration follows. The carriers, in layers 1
and 2, average the code over all answers and write it at the last token, where layer 2 multiplies it with the class of
the query. Without demonstrations there is no code, and both labels are as probable.

Two families of tasks, over other words and labels, have carriers of their own. L1H5 writes a little of the code with
the wrong sign. Every other head has random values that are written nowhere: it looks busy and does nothing.
"""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import site_lens as sl

CARRIERS = {"u": ("L1H1", "L1H4", "L2H2"), "v": ("L1H0", "L2H3", "L2H5")}
"""Heads that carry the tasks of each family."""
COUNTER = "L1H5"
LABELS = {"u": "ab", "v": "cd"}
N_WORDS, N_LAYERS, N_HEADS, D_HEAD = 40, 3, 6, 16
D_MODEL = N_HEADS * D_HEAD
TEMPLATE = sl.PromptTemplate(
    input_prefix="Q", input_separator=":", output_prefix="", output_separator=" ", digit_rule=False
)
VOCABULARY = ["<bos>", "Q", *"abcd", *(f"{family}{i}:" for family in CARRIERS for i in range(N_WORDS))]

CONST, ANSWER, QUERY_U, QUERY_V = 0, 1, 2, 3
CLASS, LABEL, CLASS_BEFORE, CODE, COLLECTED = ({"u": i, "v": i + 1} for i in (4, 6, 8, 10, 12))
LOGITS, POSITION = 14, 16  # features 14 and 15: label + minus label - of u and v; 16 to 31: position
N_FREQUENCIES = 8
LARGE = 8.0
"""Length of the constant feature: beside it all others hardly change what layer norm divides by."""
SHARP = 80.0
"""Factor on attention scores that makes softmax exact in float32: what is not attended to weighs nothing at all."""


def save_planted(folder: Path) -> Path:
    """Write the model and its tokenizer."""
    model = GPT2LMHeadModel(_config()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1)
        _embed(model)
        _busy_heads(model)
        _previous_token_head(model)
        for family, names in CARRIERS.items():
            for name in names:
                _carrier(model, sl.Head.parse(name), {family: 1 / len(names)})
        _carrier(model, sl.Head.parse(COUNTER), dict.fromkeys(CARRIERS, -0.1))
        for family in CARRIERS:
            _multiply(model, 0, family, CLASS_BEFORE[family], LABEL[family], CODE[family], 1.0)
            _multiply(model, 2, family, COLLECTED[family], CLASS[family], LOGITS + "uv".index(family), 4.0)
        _unembed(model)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def planted_tasks() -> dict[str, sl.Task]:
    """Return both tasks of both families."""
    found = {}
    for family in CARRIERS:
        for name, sign in (("direct", 1), ("swapped", -1)):
            labels = {c: LABELS[family][(1 - c * sign) // 2] for c in (1, -1)}
            rows = [sl.Example(f"{family}{i}", (labels[_class(i)],)) for i in range(N_WORDS)]
            task = sl.Task.from_examples(f"{name}_{family}", rows, shares=(0.6, 0.2, 0.2), family=family)
            found[task.name] = task
    return found


def _class(i: int) -> int:
    """Class of the i-th word of a family, +1 or -1."""
    return 1 if i % 3 == 0 else -1


def _config() -> GPT2Config:
    return GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=64,
        n_embd=D_MODEL,
        n_layer=N_LAYERS,
        n_head=N_HEADS,
        n_inner=8,
        activation_function="relu",
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<bos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<bos>", unk_token="<bos>", add_bos_token=False
    )


def _feature(i: int) -> torch.Tensor:
    """Return a direction without a mean, so that layer norm takes nothing of it away."""
    direction = torch.zeros(D_MODEL)
    direction[2 * i], direction[2 * i + 1] = 0.5**0.5, -(0.5**0.5)
    return direction


def _norm() -> float:
    """What layer norm multiplies by: the constant and the position make out nearly all of the length."""
    return float((D_MODEL / (LARGE**2 + N_FREQUENCIES + 3)) ** 0.5)


def _position(places: np.ndarray) -> np.ndarray:
    """(place feature): circles of frequencies that no two places of a prompt share."""
    angles = places[:, None] * (0.3 + 2.4 * ((np.arange(1, N_FREQUENCIES + 1) * 0.618) % 1))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def _embed(model: GPT2LMHeadModel) -> None:
    tokens, places = model.transformer.wte.weight, model.transformer.wpe.weight
    tokens += LARGE * _feature(CONST)
    for i, word in enumerate(VOCABULARY):
        family = "u" if word in (*LABELS["u"],) or word.startswith("u") else "v"
        if word in "abcd":
            tokens[i] += _feature(ANSWER) + (1 if word in "ac" else -1) * _feature(LABEL[family])
        elif word[0] in CARRIERS:
            tokens[i] += _feature(QUERY_U if family == "u" else QUERY_V)
            tokens[i] += _class(int(word[1:-1])) * _feature(CLASS[family])
    circles = torch.tensor(_position(np.arange(len(places))), dtype=torch.float32)
    for f in range(2 * N_FREQUENCIES):
        places += circles[:, f, None] * _feature(POSITION + f)


def _columns(head: sl.Head, part: int) -> slice:
    """Columns of a head in c_attn; part 0 is the query, 1 the key, 2 the value."""
    start = part * D_MODEL + head.head * D_HEAD
    return slice(start, start + D_HEAD)


def _busy_heads(model: GPT2LMHeadModel) -> None:
    generator = torch.Generator().manual_seed(0)
    for block in model.transformer.h:
        block.attn.c_attn.weight[:, 2 * D_MODEL :] = torch.randn(D_MODEL, D_MODEL, generator=generator) / D_MODEL**0.5


def _reads(model: GPT2LMHeadModel, head: sl.Head, values: dict[int, int]) -> None:
    """Let a head's values be features: coordinate -> feature."""
    weight = model.transformer.h[head.layer].attn.c_attn.weight
    weight[:, _columns(head, 2)] = 0
    for coordinate, feature in values.items():
        weight[:, _columns(head, 2).start + coordinate] = _feature(feature) / _norm()


def _writes(model: GPT2LMHeadModel, head: sl.Head, coordinate: int, vector: torch.Tensor) -> None:
    model.transformer.h[head.layer].attn.c_proj.weight[head.head * D_HEAD + coordinate] = vector


def _previous_token_head(model: GPT2LMHeadModel) -> None:
    head = sl.Head(0, 0)
    weight = model.transformer.h[0].attn.c_attn.weight
    turn = _position(np.array([1.0]))[0]  # cosines and sines of one step
    for f in range(N_FREQUENCIES):
        cos, sin = float(turn[f]), float(turn[N_FREQUENCIES + f])
        c, s = _feature(POSITION + f), _feature(POSITION + N_FREQUENCIES + f)
        query, key = _columns(head, 0).start, _columns(head, 1).start
        # A query at place i asks for the circle at place i - 1.
        weight[:, query + f] = SHARP * (cos * c + sin * s)
        weight[:, query + N_FREQUENCIES + f] = SHARP * (cos * s - sin * c)
        weight[:, key + f], weight[:, key + N_FREQUENCIES + f] = c, s
    _reads(model, head, {0: CLASS["u"], 1: CLASS["v"]})
    for i, family in enumerate(CARRIERS):
        _writes(model, head, i, _feature(CLASS_BEFORE[family]))


def _carrier(model: GPT2LMHeadModel, head: sl.Head, shares: dict[str, float]) -> None:
    weight = model.transformer.h[head.layer].attn.c_attn.weight
    weight[:, _columns(head, 0).start] = SHARP * _feature(CONST)
    weight[:, _columns(head, 1).start] = _feature(ANSWER)
    _reads(model, head, {i: CODE[family] for i, family in enumerate(shares)})
    for i, (family, share) in enumerate(shares.items()):
        _writes(model, head, i, share * _feature(COLLECTED[family]))


def _multiply(
    model: GPT2LMHeadModel, layer: int, family: str, factor: int, sign: int, product: int, gain: float
) -> None:
    """Let a layer write gain x factor x sign; |factor| is at most 1, sign is +1, -1, or 0 where nothing is written."""
    mlp = model.transformer.h[layer].mlp
    first = 4 * "uv".index(family)
    margin = 2.0
    for i, (own, by) in enumerate([(1, 1), (-1, 1), (1, -1), (-1, -1)]):
        mlp.c_fc.weight[:, first + i] = (own * _feature(factor) + by * margin * _feature(sign)) / _norm()
        mlp.c_fc.bias[first + i] = -margin
        mlp.c_proj.weight[first + i] = own * by * gain * _feature(product)


def _unembed(model: GPT2LMHeadModel) -> None:
    rows = model.lm_head.weight
    rows -= _feature(CONST) / LARGE * 4
    for family, query in (("u", QUERY_U), ("v", QUERY_V)):
        for label, sign in zip(LABELS[family], (1, -1), strict=True):
            row = rows[VOCABULARY.index(label)]
            row += 6 * _feature(query) + sign * 0.25 * _feature(LOGITS + "uv".index(family))
