"""Plain Hugging Face models: where their heads write, and which model it is; TransformerLens is not needed."""

import re
from typing import Any

from torch import nn

from site_lens.heads.head_set import HeadGrid
from site_lens.models.fingerprint import weights_digest
from site_lens.models.identity import ModelIdentity, widths_if_ragged
from site_lens.models.plain_transformers import text_decoder
from site_lens.models.quantization import quantization_of
from site_lens.models.tokenization import Encoder
from site_lens.records.errors import InputError, ModelError

ATTENTION = r"(?:self_attn|attn|attention|self_attention)(?:\.attention)?"
PROJECTION = re.compile(rf"(?P<stack>(?:.+\.)?[a-z]+)\.(?P<layer>\d+)\.{ATTENTION}\.(?:o_proj|c_proj|dense|out_proj)")
"""Names of the modules that a layer's heads write through: `o_proj` (Llama, Mistral, Mixtral, Qwen, Gemma, OLMo),
`c_proj` (GPT-2), `dense` (GPT-NeoX, Falcon, Phi, BLOOM), `out_proj` (OPT, GPT-J, GPT-Neo)."""


def find_projections(hf_model: Any) -> dict[int, nn.Module]:
    """Find the output projection of every attention layer, by layer.

    Args:
        hf_model: A decoder of `transformers` with a language-model head.

    Raises:
        InputError: It is no such model.
        ModelError: It has no output projections of a known name, or two stacks of layers have them.
    """
    from transformers import PreTrainedModel

    if not isinstance(hf_model, PreTrainedModel) or not hf_model.can_generate():
        raise InputError(
            f"needs a transformers model that generates, got a {type(hf_model).__name__}; load one with "
            "AutoModelForCausalLM.from_pretrained(...), and take a PEFT model apart with .get_base_model()"
        )
    if hf_model.config.is_encoder_decoder:
        raise ModelError(f"{type(hf_model).__name__} has an encoder; only decoders have a last prompt token")
    stacks: dict[str, dict[int, nn.Module]] = {}
    modules = dict(hf_model.get_decoder().named_modules())
    for name, module in modules.items():
        if place := PROJECTION.fullmatch(name):
            stacks.setdefault(place["stack"], {})[int(place["layer"])] = module
    if len(stacks) != 1:
        linear = [name for name, module in modules.items() if re.search(r"\.0\.", name) and _width(module)]
        found = f"stacks {', '.join(stacks)}" if stacks else f"in layer 0: {', '.join(linear) or 'no projection'}"
        raise ModelError(
            f"cannot tell where the heads of {type(hf_model).__name__} write; looked for one stack of layers with "
            f"self_attn.o_proj, attn.c_proj, attention.dense, self_attn.out_proj or the like, found {found}"
        )
    return next(iter(stacks.values()))


def plain_grid(hf_model: Any, projections: dict[int, nn.Module]) -> tuple[HeadGrid, tuple[int, ...]]:
    """Return the heads of a plain model and their width in each layer, from its config and its output projections.

    Raises:
        ModelError: Config and projections contradict each other.
    """
    config = hf_model.config.get_text_config()
    n_layers, n_heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    widths = {layer: _width(module) for layer, module in projections.items()}
    if max(projections) >= n_layers or not all(width and width % n_heads == 0 for width in widths.values()):
        raise ModelError(
            f"the config of {type(hf_model).__name__} says {n_layers} layers of {n_heads} heads, but its output "
            f"projections stand in layers {sorted(projections)} and take {sorted({*widths.values()}, key=str)} numbers"
        )
    grid = HeadGrid(tuple(n_heads if layer in projections else 0 for layer in range(n_layers)))
    return grid, tuple((widths.get(layer) or 0) // n_heads for layer in range(n_layers))


def plain_identity(
    hf_model: Any, projections: dict[int, nn.Module], *, like: ModelIdentity, tokenizer: Any | None = None
) -> tuple[ModelIdentity, tuple[str, ...]]:
    """Describe a plain model as a record describes the model that it was made on.

    Args:
        hf_model: The plain model.
        projections: What `find_projections` found in it.
        like: The model of the record. What cannot be compared with it is taken from it.
        tokenizer: The tokenizer that makes the prompts, if it is to be compared.

    Returns:
        The identity, and what was not compared.
    """
    grid, widths = plain_grid(hf_model, projections)
    weights = list(text_decoder(hf_model).parameters())
    dtype = str(hf_model.dtype).removeprefix("torch.")
    as_then = like.host == "TransformerBridge" and like.processing == "raw" and like.dtype == dtype
    comparable = as_then and not any(weight.is_meta for weight in weights)
    encoder = None if tokenizer is None else Encoder(tokenizer, bos=None, n_ctx=0)
    name = hf_model.config.name_or_path or type(hf_model).__name__
    identity = ModelIdentity(
        name=name,
        architecture=type(hf_model).__name__,
        host=type(hf_model).__name__,
        grid=grid,
        d_head=max(widths),
        d_head_per_layer=widths_if_ragged(widths),
        dtype=dtype,
        processing="raw",
        value_bias=_has_bias(hf_model, projections),
        bos=like.bos if encoder is None else encoder.bos,
        weights_digest=weights_digest(weights) if comparable else like.weights_digest,
        tokenizer_digest=like.tokenizer_digest if encoder is None else encoder.digest,
        quantization=quantization_of(hf_model.config),
    )
    skipped = () if comparable else (f"the weights were not compared with those of {like.name}",)
    return identity, skipped if encoder else (*skipped, "tokenizer and BOS were not compared; pass tokenizer=...")


def _width(module: nn.Module) -> int | None:
    """Numbers that a linear map takes; GPT-2's Conv1D calls them nx."""
    width = getattr(module, "in_features", getattr(module, "nx", None))
    return None if width is None else int(width)


def _has_bias(hf_model: Any, projections: dict[int, nn.Module]) -> bool:
    """Whether anything in attention but the output projection adds a bias: then z may hold a value bias."""
    written = {id(weight) for module in projections.values() for weight in module.parameters()}
    return any(
        name.endswith("bias")
        and re.search(rf"\.\d+\.{ATTENTION}\.", name)
        and id(weight) not in written
        and (weight.is_meta or bool(weight.any()))
        for name, weight in hf_model.named_parameters()
    )
