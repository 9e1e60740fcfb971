"""Lock of a model, and the check of its hooks, weights and modes that every call begins and ends with."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import chain
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from site_lens.records.errors import InputError, ModelError

Function = TypeVar("Function", bound=Callable[..., Any])

OF_THE_MODEL = ("transformers", "transformer_lens", "accelerate", "bitsandbytes", "site_lens.models")
"""Packages whose hooks are part of a model: they hang them there themselves, some as late as the first call."""

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

N_SAMPLED = 64
"""Numbers of every weight that are compared: torch counts no version where a weight is changed through `.data`."""

EXACT = ("none", "ieee")
"""Settings of torch under which products of float32 are exact."""

_LOCKS: "WeakKeyDictionary[nn.Module, threading.RLock]" = WeakKeyDictionary()
_making = threading.Lock()


def on_model(function: Function) -> Function:
    """Lock the model, the first argument, for the time of a call; see `Guard.locked`.

    Raises:
        InputError: It is no model of `load_model` or `wrap_model`.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        model = args[0] if args else kwargs.get("model")
        if model is None or not hasattr(model, "locked"):
            raise InputError(
                f"{function.__name__} takes a model from load_model or wrap_model, got a {type(model).__name__}"
            )
        with model.locked():
            return function(*args, **kwargs)

    return cast(Function, call)


def on_model_no_grad(function: Function) -> Function:
    """Lock the model for the time of a call as `on_model` does, and compute without gradients."""
    return on_model(torch.no_grad()(function))


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Compute as torch does by default, whatever the caller has switched on: autocast, inference mode, another device.

    Raises:
        InputError: The default number format is not float32; it is one for all threads, and stays the caller's.
    """
    if torch.get_default_dtype() != torch.float32:
        raise InputError(
            f"torch's default number format is {torch.get_default_dtype()}, and gates are float32; call "
            "torch.set_default_dtype(torch.float32) first"
        )
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        for device in {"cpu", accelerator.type if accelerator else "cpu"}:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute products of float32 as float32, whatever the caller has set: TF32 on a GPU, bfloat16 on a CPU.

    Two ways to compute the same then differ by up to a hundredth, and no fault of a model could be seen.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]  # made at import
    coarse = [(backend, backend.fp32_precision) for backend in backends if backend.fp32_precision not in EXACT]
    try:
        for backend, _ in coarse:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in coarse:
            backend.fp32_precision = precision


def lock_of(point: nn.Module) -> "threading.RLock":
    """Return the lock of the model that a module belongs to, the same for all who wrap it: that of its first z."""
    with _making:
        return _LOCKS.setdefault(point, threading.RLock())


class Guard:
    """State of a model when it was wrapped, compared at the beginning and end of every call.

    A comparison takes 0.8 ms for the demo model; it grows with the number of modules, not with their size.

    Args:
        host: The TransformerLens model.
        point: The hook point of its first z; see `lock_of`.
        name: What to call the model.

    Raises:
        ModelError: Other hooks are on it, or its weights are computed from others (pruning, parametrization).
    """

    def __init__(self, host: nn.Module, point: nn.Module, name: str) -> None:
        self._lock = lock_of(point)
        self._name, self._inside = name, False
        self._kept: dict[str, Any] = {}
        self._modules = dict(host.named_modules())
        if computed := [path for path, module in self._modules.items() if is_parametrized(module)]:
            raise ModelError(
                f"weights of {name} are computed from others ({computed[0]}); make that permanent with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
        if any(weight.is_inference() for weight in host.parameters()):
            raise ModelError(f"{name} was loaded under torch.inference_mode; load it outside, or gradients do not pass")
        self._hooks = [getattr(module, hooks) for module in self._modules.values() for hooks in HOOKS]
        self._known: set[int] = set()
        self._refuse_hooks()
        draw = torch.Generator("cpu").manual_seed(0)
        self._places = [
            torch.randint(weight.numel(), (N_SAMPLED,), generator=draw, device="cpu").to(weight.device)
            for weight in self._weights()
        ]
        self._before = self._structure(), self._samples()

    @property
    def kept(self) -> dict[str, Any]:
        """Cache that calls within a call share; a new empty one outside of calls, where the model may change."""
        return self._kept if self._inside else {}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the model for this thread; others wait. In a call within a call nothing more happens.

        Raises:
            ModelError: Other hooks are on the model, its weights or modules were changed since it was wrapped, or it
                was switched to training mode: before the call or during it.
            InputError: The default number format is not float32.
        """
        with self._lock:
            if self._inside:
                yield
                return
            with torch_defaults():
                self._refuse_changes()
                self._inside = True
                try:
                    yield
                finally:
                    self._inside = False
                    self._kept.clear()
                self._refuse_changes()

    def _refuse_changes(self) -> None:
        if any(module.training for module in self._modules.values()):
            raise ModelError(f"{self._name} was switched to training mode, in which dropout acts; call .eval() on it")
        self._refuse_hooks()
        structure, samples = self._before
        # In this order: numbers are sampled at places of weights that are still there.
        if self._structure() != structure or self._samples() != samples:
            raise ModelError(
                f"weights or modules of {self._name} were changed, replaced, moved or cast after it was wrapped; wrap "
                "it again (wrap_model), so that records say what it is now, or load it anew"
            )

    def _refuse_hooks(self) -> None:
        new = set(chain.from_iterable(self._hooks)) - self._known
        if not new:
            return
        others = [
            (getattr(module, "name", path) or path, function)
            for path, module in self._modules.items()
            for name in HOOKS
            for key, hook in getattr(module, name).items()
            if key in new and not _is_of_the_model(function := _user_function(module, key, hook))
        ]
        if others:
            path, function = others[0]
            raise ModelError(
                f"{len(others)} other hooks are on {self._name}, the first at {path} "
                f"({getattr(function, '__qualname__', type(function).__name__)}), and would change what it computes; "
                "take them off (handle.remove(), reset_hooks(), prune.remove(...))"
            )
        self._known |= new

    def _structure(self) -> list[object]:
        """Return which modules and weights stand in which, which version of them, and whose forward was replaced."""
        modules = self._modules.values()
        children = chain.from_iterable(module._modules.values() for module in modules)
        forwards = (id(module.__dict__.get("forward")) for module in modules)
        weights = ((id(each), each.data_ptr(), each._version, each.dtype) for each in self._weights())
        return [*map(id, children), *forwards, *weights]

    def _weights(self) -> Iterator[Tensor]:
        """Yield weights and buffers with numbers; frequencies of rotation may change with the length of a prompt."""
        for module in self._modules.values():
            for name, weight in chain(module._parameters.items(), module._buffers.items()):
                if weight is not None and not name.endswith("inv_freq") and weight.numel():
                    yield weight

    def _samples(self) -> bytes:
        weights = (weight.detach() for weight in self._weights())
        # Numbers of one byte, of which torch can do little, are taken as whole ones.
        numbers = (weight.view(torch.uint8) if weight.element_size() == 1 else weight for weight in weights)
        samples = [torch.take(own, places).float().cpu() for own, places in zip(numbers, self._places, strict=True)]
        return torch.cat(samples).numpy().tobytes()  # as bytes: NaN does not equal itself


def _user_function(module: Any, key: int, function: Any) -> Any:
    """Return a user's function without the wrappers of TransformerLens and functools."""
    for handle in (*getattr(module, "fwd_hooks", ()), *getattr(module, "bwd_hooks", ())):
        if handle.hook.id == key:
            function = getattr(handle, "user_hook", handle)
    while isinstance(function, partial):
        function = function.func
    return function


def _is_of_the_model(function: Any) -> bool:
    home = getattr(function, "__module__", None) or type(function).__module__
    return any(home == package or home.startswith(f"{package}.") for package in OF_THE_MODEL)
