"""Checks of a model find every planted fault; sound hosts pass them (tests/models/test_hosts.py)."""

from collections.abc import Sequence

import torch
from torch import Tensor

import site_lens as sl
from site_lens.models.batch import Batch
from site_lens.models.bridge import BridgeModel
from site_lens.models.kv_cache import Prefix
from site_lens.models.tokenization import Encoder
from tests.conftest import Models
from tests.tiny_models import random_model, tiny_config


class Faulty(BridgeModel):
    """A model with one planted fault."""

    def __init__(self, model: sl.LensModel, fault: str) -> None:
        assert isinstance(model, BridgeModel)
        super().__init__(model.host, model.encoder, model.identity)
        self.fault = fault
        if fault == "two BOS":
            self.encoder = TwoBos(model.encoder.tokenizer, bos=True, n_ctx=model.encoder.n_ctx)

    def forward(self, batch: Batch, edits: Sequence[sl.Edit] = ()) -> Tensor:
        if self.fault == "no mask":
            batch = Batch(batch.tokens, torch.full_like(batch.lengths, batch.tokens.shape[1]))
        if self.fault == "edits are ignored":
            edits = ()
        if self.fault == "edits are scaled":
            edits = [one for edit in edits for one in (edit, sl.Edit(edit.layer, lambda z: 1.1 * z, edit.column))]
        noise = torch.rand(len(batch), 1) if self.fault == "dropout" else 1.0
        return super().forward(batch, edits) * noise * (1.001 if self.fault == "another model" else 1.0)

    def decode(self, prefix: Prefix, tail: Tensor, edits: Sequence[sl.Edit] = ()) -> tuple[Tensor, Prefix]:
        mixed_up = {"rows of the cache are mixed up": True, "tails of several tokens are wrong": tail.shape[1] > 1}
        if mixed_up.get(self.fault, False) and len(tail) > 1:
            prefix = prefix.rows(torch.arange(len(tail)).roll(1))
        logits, grown = super().decode(prefix, tail, edits)
        shifted = {"long caches are wrong": prefix.width > 500, "what follows an edit is wrong": not edits}
        return logits.roll(1, dims=-1) if shifted.get(self.fault, False) else logits, grown


class TwoBos(Encoder):
    def encode(self, texts: Sequence[str], *, room: int = 0) -> list[list[int]]:
        return [[row[0], *row] for row in super().encode(texts, room=room)]


FOUND_BY = {
    "another model": "same_as_transformers",
    "dropout": "deterministic",
    "two BOS": "bos",
    "edits are scaled": "embedding_in_z identity_edit",
    "edits are ignored": "edit_has_effect",
    "no mask": "padding pad_token",
    "rows of the cache are mixed up": "cached_equals_full cached_tail gradient gradient_tail padded_tail",
    "tails of several tokens are wrong": "cached_tail gradient_tail padded_tail",
    "long caches are wrong": "long_prompt",
    "what follows an edit is wrong": "generation",
}


def test_every_fault_shows_in_the_checks_that_are_there_to_find_it(demo: sl.LensModel) -> None:
    for fault, codes in FOUND_BY.items():
        longest = 600 if fault == "long caches are wrong" else 100
        checks = sl.check_model(Faulty(demo, fault), longest=longest)
        failed = {check.code for check in checks if check.state == "fail"}
        assert set(codes.split()) <= failed, fault
    all_codes = {check.code for check in sl.check_model(demo, longest=100)} - {"two_parts"}  # which never fails
    assert all_codes == {code for codes in FOUND_BY.values() for code in codes.split()}


def test_a_gradient_that_never_reaches_the_logits_fails_on_one_layer_too(demo: sl.LensModel) -> None:
    config = tiny_config("llama", vocab_size=len(demo.encoder.tokenizer))
    config.num_hidden_layers = 1
    hf_model = random_model(config)
    torch.nn.init.zeros_(hf_model.model.layers[0].self_attn.o_proj.weight)
    model = sl.wrap_model(hf_model, tokenizer=demo.encoder.tokenizer, check=False)
    failed = {check.code for check in sl.check_model(model, longest=100) if check.state == "fail"}
    assert failed == {"edit_has_effect", "gradient"}


def test_a_model_that_concatenates_keys_is_told_so_and_passes(tiny: Models) -> None:
    found = {check.code: check for check in sl.check_model(tiny("bloom"), longest=100)}
    assert found["two_parts"].state == "skipped" and "reshape" in found["two_parts"].meaning


def test_checks_are_exact_under_products_of_few_digits_which_stay_as_the_caller_set_them() -> None:
    torch.set_float32_matmul_precision("medium")  # bfloat16 on processors with units for it, TF32 on GPUs
    try:
        assert {check.state for check in sl.check_model(sl.load_model("demo"))} <= {"ok", "skipped"}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
