"""Hook-free modules: those of transformers in the place of the modules that TransformerBridge puts before them.

Each of these has hook points before and behind the one of transformers, computes norms a second time for their hook
points, and attention in code of its own. A pass that reads or changes z needs the hook points of z alone; with all
other modules hook-free it computes the same in less time (docs/benchmarks.md).
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any


class HookFreeModules:
    """The modules of a model that own no hook point of z, and those of transformers behind them.

    Args:
        host: The `TransformerBridge`.
        z_points: Its hook points of z.
    """

    def __init__(self, host: Any, z_points: Collection[Any]) -> None:
        of_z = {id(point) for point in z_points}
        self._points = [point for point in host.hook_dict.values() if id(point) not in of_z]
        self._behind = [
            (module, module.original_component)
            for module in host.modules()
            if getattr(module, "original_component", None) is not None
        ]
        originals = {id(module): original for module, original in self._behind}
        hooked = {
            id(original): module for module, original in self._behind if of_z & set(map(id, module._modules.values()))
        }
        self._places = []
        """Dictionaries of submodules with a name, the module under it, and the one for passes."""
        for parent in host.original_model.modules():
            for name, child in {} if id(parent) in originals else parent._modules.items():
                own = originals.get(id(child), child)
                wanted = hooked.get(id(own), own)  # heads write through the module that has their hook point
                if wanted is not child:
                    self._places.append((parent._modules, name, child, wanted))

    def is_enough(self) -> bool:
        """Tell whether no other hook point has a function, and all modules are those that were there at first.

        An adapter of LoRA stands behind a module of TransformerBridge that the model of transformers may not have.
        """
        return not any(point.fwd_hooks or point.bwd_hooks for point in self._points) and all(
            module.original_component is original for module, original in self._behind
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the modules of transformers in place for as long as the context lasts."""
        try:
            for modules, name, _, wanted in self._places:
                modules[name] = wanted
            yield
        finally:
            for modules, name, module, _ in self._places:
                modules[name] = module
