"""Control vectors of llama.cpp and repeng: the constant part of a fit, added to the residual stream at every token."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from site_lens.activations.injection import injection_edits
from site_lens.activations.prefill import prompt_batches
from site_lens.models.base import LensModel
from site_lens.models.batch import Batch
from site_lens.models.checks import synthetic_prompts
from site_lens.models.gguf_source import GET_GGUF
from site_lens.models.hooks import Edit, HookPoint
from site_lens.records.base import Float32
from site_lens.records.errors import InputError, ModelError
from site_lens.records.hashing import seed_stream
from site_lens.records.outputs import write_file
from site_lens.records.wording import listed
from site_lens.site.fit import Pair, SiteFit, gates_and_embedding

ARCHITECTURE = "controlvector"

LARGEST_GAP = 0.05
"""Share of what heads write by which a change of the residual stream may differ from it: rounding in bfloat16."""

SAME = 1e-3
"""Share of an MLP's output by which it may change where it does not see what the heads write."""

PROBE_TOKENS = 4
PROBE_LENGTH = 3.0
"""Length of what the probed heads write, in lengths of the residual stream: above rounding in bfloat16."""


@dataclass(frozen=True, slots=True, eq=False)
class ControlVector:
    """Directions to add to the residual stream behind layers, at every token."""

    task: str
    model_type: str
    """Family of the model in `transformers`, such as llama."""
    directions: Mapping[int, Float32]
    """By layer, from 0: (d_model), what is added behind it. Layer 0 has none, and layers without an open head."""
    differences: tuple[str, ...]
    """What keeps it from being the fit; never empty."""

    def edits(self) -> list[Edit]:
        """Return what llama.cpp and repeng do, as edits: the directions are added at every token."""

        def adding(direction: Float32) -> Callable[[Tensor], Tensor]:
            added = torch.tensor(direction)
            return lambda stream: stream + added.to(stream.device)

        return [Edit(layer, adding(direction), None, "residual") for layer, direction in self.directions.items()]


@dataclass(frozen=True, slots=True)
class ControlVectorEffect:
    """Part of the effect of a fit that its control vector keeps on some prompts."""

    kept: float
    """1 - KL(fit, vector) / KL(fit, no edit), each the mean over prompts of the divergence of the next token: 1 where
    the vector does what the fit does, 0 where it is as far from it as no edit, less where it is farther. NaN where the
    fit changes nothing."""
    n_prompts: int
    n_same: int
    """Prompts on which the most probable next token is that under the fit."""
    n_same_without: int
    """Prompts on which it is so without any edit."""

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        return (
            f"the control vector keeps {self.kept:.0%} of the effect of the fit (KL divergence); the most probable "
            f"next token is that of the fit on {self.n_same} of {self.n_prompts} prompts, without any edit on "
            f"{self.n_same_without}"
        )


def control_vector(model: LensModel, fit: SiteFit | Pair) -> ControlVector:
    r"""Control vector of a fit: what the open heads would write if their outputs were alpha times the embedding.

    A fit changes what attention of layer l adds to the residual stream of the last prompt token by

        sum over heads h of alpha[h] (t[h] - z[h]) W_O[h].

    The vector of the layer is the constant part of it, sum of alpha[h] t[h] W_O[h]. The rest, the share alpha of the
    head's own output z that the fit takes away, differs from prompt to prompt and cannot be a vector. So it does what
    the fit does only where all of this holds:

    - gates mix additively (z + alpha t); or something else takes alpha z away at that token, which for alphas of 1
      means that the open heads are silenced there;
    - the MLP of a layer reads the stream before attention adds to it (parallel blocks: GPT-J, GPT-NeoX, Falcon, Phi);
      else it sees the fit's change, and not the vector, which is added behind it;
    - no head of layer 0 is open: llama.cpp adds nothing behind layer 0, and refuses a file that asks for it;
    - it is added at the last prompt token alone. llama.cpp and repeng add it at every token of prompt and answer, so in
      these programs it is exact for prompts of one token at most, and never for what is generated.

    `ControlVector.differences` says which of them fail here, and `control_vector_effect` measures what is left.

    Args:
        model: The model of the fit.
        fit: A fit, such as `path.sparse` of a head path, or gates and an embedding that belong together.

    Raises:
        InputError: The gates mix by the rule `norm_preserving`, which has no constant part, or no head above layer 0
            is open.
        MismatchError: The fit belongs to a model of other heads, or of weights processed in another way.
        ModelError: The model adds something else to its stream than what its heads write, as those do that normalise
            behind attention (Gemma 2 and 3, OLMo 2).

    Reference: Vogel 2024, repeng; llama.cpp, `--control-vector`.

    Example:
        >>> import site_lens as sl
        >>> model, tasks = sl.load_model("demo"), sl.load_tasks("demo", ["english-french"])
        >>> embedding = sl.capture_embeddings(model, tasks, n_prompts=4, n_shots=3)["english-french"]
        >>> fit = (sl.HeadGates.of(sl.HeadSet.of(model.grid, ["L1H0", "L1H4"])), embedding)
        >>> vector = sl.control_vector(model, fit)
        >>> vector.directions[1].shape, len(vector.differences)
        ((192,), 3)
        >>> sl.write_control_vector(vector, "french.gguf", approximate=True).name
        'french.gguf'
        >>> effect = sl.control_vector_effect(model, fit, vector, ["Q: apple\nA:", "Q: house\nA:"])
        >>> effect.n_prompts
        2
    """
    gates, embedding = gates_and_embedding(fit)
    notes = model.identity.check_use(embedding.model, f"the embedding of {embedding.task!r}")
    if gates.mix == "norm_preserving":
        raise InputError(
            f"the gates of {embedding.task!r} mix by the rule norm_preserving, of which no part is a constant vector"
        )
    written = {
        layer: model.project(layer, torch.tensor((gates.values[layer, :n, None] * embedding.mean[layer, :n])[None]))[0]
        for layer, n in enumerate(model.grid.heads_per_layer)
        if layer and gates.values[layer].any()
    }
    if not written:
        raise InputError(
            f"the fit of {embedding.task!r} opens no head above layer 0, and llama.cpp adds nothing behind layer 0"
        )
    parallel = [_is_parallel(model, layer) for layer in written]
    in_first = [head for head in gates.above(0.0) if head.layer == 0]
    different = {
        "llama.cpp and repeng add it at every token, and the fit edits the last prompt token alone": True,
        "it leaves in what the open heads write themselves, of which the fit takes the share alpha away": (
            gates.mix == "convex"
        ),
        "it is added behind the MLP of a layer, which reads what the fit changes": not all(parallel),
        f"the heads of layer 0 are left out, behind which llama.cpp adds nothing ({listed(in_first)})": bool(in_first),
    }
    return ControlVector(
        task=embedding.task,
        model_type=model.model_type,
        directions={layer: direction.cpu().numpy() for layer, direction in written.items()},
        differences=(*(reason for reason, holds in different.items() if holds), *notes),
    )


def write_control_vector(
    vector: ControlVector, path: str | Path, *, approximate: bool = False, replace: bool = False
) -> Path:
    """Write a control vector as a GGUF file that llama.cpp (`--control-vector`) and repeng read; returns the path.

    `direction.{layer}` is added behind that layer, counted from 0, as both programs count. The file says in
    `general.description` what keeps it from being the fit.

    Args:
        vector: What `control_vector` made.
        path: The file.
        approximate: Write it although it is not what was fitted (see `control_vector`), which it never is in these
            programs.
        replace: Write over any file that is there.

    Raises:
        InputError: `approximate` is not given, or the package gguf is missing.
        StorageError: The folder cannot be written, or there is another file and `replace` is not given.
    """
    if not approximate:
        raise InputError(
            f"a control vector only approximates the fit of {vector.task!r}: {'; '.join(vector.differences)}. To write "
            "it all the same, pass approximate=True (--approximate)"
        )
    if find_spec("gguf") is None:
        raise InputError(f"a control vector is a GGUF file, which needs the package gguf: {GET_GGUF}")
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "vector.gguf"
        writer = GGUFWriter(beside, ARCHITECTURE)
        writer.add_name(vector.task)
        writer.add_description(f"approximates a fit of site_lens: {'; '.join(vector.differences)}")
        writer.add_string(f"{ARCHITECTURE}.model_hint", vector.model_type)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(vector.directions))
        for layer, direction in vector.directions.items():
            writer.add_tensor(f"direction.{layer}", direction)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return write_file(beside.read_bytes(), path, replace=replace)


@torch.no_grad()
def control_vector_effect(
    model: LensModel, fit: SiteFit | Pair, vector: ControlVector, prompts: Sequence[str]
) -> ControlVectorEffect:
    """Measure how much of the effect of a fit its control vector keeps on the next token of some prompts.

    The vector is added as llama.cpp and repeng do, at every token. Three passes a prompt.

    Args:
        model: The model of the fit.
        fit: What the vector was made of.
        vector: What `control_vector` made.
        prompts: Prompts without demonstrations, as the fit takes them.

    Raises:
        InputError: There is no prompt, or one exceeds the context.
    """
    if not prompts:
        raise InputError("the effect of a control vector needs at least one prompt, got none")
    gates, embedding = gates_and_embedding(fit)
    ways = {"fit": injection_edits(model, gates, embedding), "vector": vector.edits(), "none": []}
    divergence, same = dict.fromkeys(("vector", "none"), 0.0), dict.fromkeys(("vector", "none"), 0)
    for _, batch in prompt_batches(model, model.encoder.encode(list(prompts))):
        logs = {way: model.forward(batch, edits).log_softmax(-1) for way, edits in ways.items()}
        wanted = logs["fit"]
        for way in divergence:
            of_prompt = (wanted.exp() * (wanted - logs[way])).sum(-1, dtype=torch.float64)
            divergence[way] += float(of_prompt.clamp(min=0).sum())  # never below 0, save by rounding
            same[way] += int((logs[way].argmax(-1) == wanted.argmax(-1)).sum())
    return ControlVectorEffect(
        kept=1 - divergence["vector"] / divergence["none"] if divergence["none"] > 0 else float("nan"),
        n_prompts=len(prompts),
        n_same=same["vector"],
        n_same_without=same["none"],
    )


@torch.no_grad()
def _is_parallel(model: LensModel, layer: int) -> bool:
    """Find out, by trying, whether the MLP of a layer reads the stream before attention adds to it.

    Raises:
        ModelError: What the heads write is not what is added to the stream.
    """
    n_heads = model.grid.heads_per_layer[layer]
    prompt = synthetic_prompts(model.encoder.vocabulary, [PROBE_TOKENS])[0]
    batch = Batch.of([prompt], pad=model.encoder.pad, device=model.device)
    before = _passing(model, batch, layer, ())
    drawn = seed_stream("control vector").normal(size=(1, n_heads, model.identity.d_head))
    push = torch.tensor(drawn, dtype=torch.float32, device=model.device)
    push = push * (PROBE_LENGTH * before["residual"].norm() / model.project(layer, push).norm())
    written = model.project(layer, push)
    after = _passing(model, batch, layer, [Edit(layer, lambda z: z + push)])
    of_mlp = after["mlp_out"] - before["mlp_out"]
    of_attention = after["residual"] - before["residual"] - of_mlp
    gap = float((of_attention - written).norm() / written.norm())
    if gap > LARGEST_GAP:
        raise ModelError(
            f"{model.identity.short_name} adds something else to its residual stream than what its heads write (off by "
            f"{gap:.0%}), as models do that normalise behind attention (Gemma 2 and 3, OLMo 2): no control vector can "
            "stand for heads there; write affine edits instead"
        )
    return bool(of_mlp.norm() <= SAME * before["mlp_out"].norm())


def _passing(model: LensModel, batch: Batch, layer: int, edits: Sequence[Edit]) -> dict[HookPoint, Tensor]:
    """Return what passes the last token of a layer's MLP output and of the stream behind it."""
    seen: dict[HookPoint, Tensor] = {}

    def watching(point: HookPoint) -> Edit:
        def watch(activation: Tensor) -> Tensor:
            seen[point] = activation.to(model.device)
            return activation

        return Edit(layer, watch, hook_point=point)

    model.forward(batch, [*edits, watching("mlp_out"), watching("residual")])
    return seen
