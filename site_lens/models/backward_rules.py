"""Backward rules: what stands in the place of the gradient through norms, softmax, gates and activations.

The forward pass is left as it is. Rules act at TransformerLens' hook points, so no code of a model is changed; a model
that does not show what a rule needs is refused.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from site_lens.models.base import PATTERN_HOOK, LensModel
from site_lens.models.hooks import HOOK_NAMES, Function, hooked
from site_lens.records.errors import ModelError

SCORES_HOOK = "blocks.{layer}.attn.hook_attn_scores"
"""Name of the hook point that carries attention scores before the softmax, masked."""
MLP_HOOKS = "blocks.{layer}.mlp."
"""Beginning of the names of an MLP's hook points: `hook_pre` before the activation, `hook_pre_linear` what a gated MLP
multiplies with it, `hook_post` what goes into the last projection."""

GradientRule = Callable[..., tuple[Tensor | None, ...]]
"""Turn the gradient at a value into those of the value and of its sources, given value and sources."""


@dataclass(frozen=True, slots=True)
class BackwardRules:
    """Rules of a backward pass. Whatever they are, norms divide by a constant, and gated MLPs halve the gradient."""

    softmax: Literal["gradient", "temperature", "constant"]
    """What attention passes on to its scores: the gradient; that of a softmax at `temperature`, without the factor
    1 / temperature; or nothing, as if attention were a constant."""
    temperature: float = 2.0
    halve_attention: bool = False
    """Halve the gradient at each product of attention: of attention and values, and of queries and keys."""
    linear_activations: bool = False
    """Pass the gradient through an activation f as through a multiplication by f(x) / x."""


GIM = BackwardRules(softmax="temperature", halve_attention=True)
"""Gradient interaction modifications (Edin et al., arXiv 2505.17630)."""
RELP = BackwardRules(softmax="constant", linear_activations=True)
"""Relevance patching (Rezaei Jafari et al., arXiv 2508.21258), with all rules of its table."""


class _Replaced(torch.autograd.Function):
    """A value that passes on the gradient of a rule instead of its own."""

    @staticmethod
    def forward(ctx: Any, rule: GradientRule, value: Tensor, *sources: Tensor) -> Tensor:  # noqa: D102
        ctx.rule = rule
        ctx.save_for_backward(value, *sources)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        return None, *ctx.rule(gradient, *ctx.saved_tensors)


@contextmanager
def backward_rules(model: LensModel, rules: BackwardRules) -> Iterator[None]:
    """Let gradients through a model follow rules: forward and backward pass stand inside.

    Args:
        model: The model, of which every layer needs attention heads.
        rules: The rules.

    Raises:
        ModelError: The model does not show what the rules need (norms, attention before and after the softmax, the
            inside of its MLPs), or does not compute with what is put there.
    """
    hooks = _RuleHooks(model)
    with model.locked(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A forward hook edited hook_scale")  # rounding, when the scale is put back
        with hooked(hooks.functions(rules)):
            yield
        hooks.refuse_if_ignored()


class _RuleHooks:
    """Functions of rules at the hook points of a model, and a record of which of them the backward pass reached."""

    def __init__(self, model: LensModel) -> None:
        self._model, self._points = model, model.hook_points
        self._reached: dict[str, bool] = {}
        """Of each hook point that gradients must pass, whether they did."""

    def functions(self, rules: BackwardRules) -> list[tuple[Any, Function]]:
        """Return the functions of the rules at their hook points."""
        self._refuse_unshown_norms()
        # A hook point may stand under several names; a rule acts on it once.
        scales = {id(point): name for name, point in self._points.items() if name.endswith(".hook_scale")}
        functions: list[tuple[Any, Function]] = []
        for name in scales.values():
            functions += self._behind([], name, lambda gradient, value: (None,))
        for layer, n_heads in enumerate(self._model.grid.heads_per_layer):
            if not n_heads:
                self._refuse(f"layer {layer} has no attention, for whose stand-in there are no rules")
            functions += self._attention(layer, rules)
            functions += self._mlp(layer, rules)
        return functions

    def refuse_if_ignored(self) -> None:
        """Refuse a model that computed without what was put at its hook points."""
        if ignored := sorted(name for name, reached in self._reached.items() if not reached):
            self._refuse(f"it computes without {ignored[0]}")

    def _attention(self, layer: int, rules: BackwardRules) -> list[tuple[Any, Function]]:
        functions = []
        if rules.halve_attention:
            name = HOOK_NAMES["z"].format(layer=layer)
            functions += self._behind([], name, lambda gradient, value: (gradient / 2,))
        pattern = PATTERN_HOOK.format(layer=layer)
        if rules.softmax == "constant":
            functions += self._behind([], pattern, lambda gradient, value: (None,))
        elif rules.softmax == "temperature":
            share = 0.5 if rules.halve_attention else 1.0
            name = SCORES_HOOK.format(layer=layer)

            def through(gradient: Tensor, value: Tensor, scores: Tensor) -> tuple[Tensor | None, ...]:
                at = (scores.float() / rules.temperature).softmax(-1)
                centred = gradient.float() - (gradient.float() * at).sum(-1, keepdim=True)
                return None, (share * at * centred).to(scores.dtype)

            functions += self._behind([name], pattern, through, check=self._refuse_unless_softmax)
        return functions

    def _mlp(self, layer: int, rules: BackwardRules) -> list[tuple[Any, Function]]:
        prefix = MLP_HOOKS.format(layer=layer)
        pre, linear, post = (prefix + name for name in ("hook_pre", "hook_pre_linear", "hook_post"))
        if not any(name.startswith(prefix) for name in self._points):
            return []
        outside = [self._points.get(prefix + name) for name in ("hook_in", "hook_out")]
        inside = [self._points.get(name) for name in (pre, post)]
        if None in inside or any(point in outside for point in inside) or prefix + "hook_mid" in self._points:
            self._refuse(f"it does not show the inside of the MLP of layer {layer}")
        gated = linear in self._points
        if not rules.linear_activations:
            return self._behind([], post, lambda gradient, value: (gradient / 2,)) if gated else []
        if gated:
            return self._behind([pre, linear], post, _half_of_each)
        return self._behind([pre], post, lambda gradient, value, x: (None, gradient * _ratio(value, x)))

    def _behind(
        self, sources: list[str], name: str, rule: GradientRule, check: Callable[..., None] | None = None
    ) -> list[tuple[Any, Function]]:
        """Return the functions that let a value pass on the gradient of a rule, to values before it, too."""
        seen: dict[str, Tensor] = {}

        def reached(*given: Tensor) -> tuple[Tensor | None, ...]:
            self._reached[name] = True
            return rule(*given)

        def replacing(value: Tensor) -> Tensor:
            given = [seen.pop(source) for source in sources if source in seen]
            if len(given) < len(sources) or any(one.shape != value.shape for one in given):
                self._refuse(f"it computes {name} in another way than from {' and '.join(sources)}")
            if check is not None:
                check(name, value, *given)
            if any(tensor.requires_grad for tensor in (value, *given)):
                self._reached.setdefault(name, False)
            replaced: Tensor = _Replaced.apply(reached, value, *given)  # type: ignore[no-untyped-call]
            return replaced

        functions: list[tuple[Any, Function]] = [(self._point(name), replacing)]
        return [(self._point(source), partial(seen.__setitem__, source)) for source in sources] + functions

    def _refuse_unless_softmax(self, name: str, pattern: Tensor, scores: Tensor) -> None:
        close = 1e-4 if pattern.dtype in (torch.float32, torch.float64) else 2e-2
        if not torch.allclose(scores.detach().float().softmax(-1), pattern.detach().float(), atol=close):
            self._refuse(f"{name} is no softmax of what its attention scores show")

    def _refuse_unshown_norms(self) -> None:
        """Refuse a model with norms that stand in no component with a scale."""
        shown: list[str] = []
        for path, module in self._model.host.named_modules():
            if hasattr(module, "hook_scale"):
                shown.append(f"{path}.")
                wrapped = getattr(module, "original_component", None)
                if not isinstance(wrapped, torch.nn.Identity | None) and not hasattr(module, "weight"):
                    self._refuse(f"{path} has no weight, without which TransformerLens takes no other scale")
            elif "norm" in type(module).__name__.lower() and not any(path.startswith(one) for one in shown):
                self._refuse(f"it does not show what {path} ({type(module).__name__}) divides by")

    def _point(self, name: str) -> Any:
        if name not in self._points:
            self._refuse(f"it has no {name}")
        return self._points[name]

    def _refuse(self, why: str) -> None:
        raise ModelError(
            f"backward rules (GIM, RelP) cannot act on {self._model.identity.name}: {why}; use attribution_patching"
        )


def _half_of_each(gradient: Tensor, product: Tensor, gate: Tensor, linear: Tensor) -> tuple[Tensor | None, ...]:
    """Pass half the gradient to the gate, through a linear activation, and half to what it multiplies."""
    return None, gradient * _ratio(product, gate) / 2, gradient * _ratio(product, linear) / 2


def _ratio(value: Tensor, x: Tensor) -> Tensor:
    """Divide, with 0 where x is 0: what passed through there had no share in the value."""
    return torch.where(x == 0, torch.zeros_like(x), value / torch.where(x == 0, torch.ones_like(x), x))
