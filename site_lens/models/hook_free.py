"""Hook-free modules: those of transformers in the place of the modules that TransformerBridge puts before them.

Each of these has hook points before and behind the one of transformers, computes norms a second time for their hook
points, and attention in code of its own. A pass that reads or changes z needs the hook points of z alone; with all
other modules hook-free it computes the same in less time (docs/benchmarks.md).
"""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any

from site_lens.models.locking import HOOKS
from site_lens.models.plain_transformers import swapped


class HookFreeModules:
    """The modules of a model that own no hook point of z, and those of transformers behind them.

    Args:
        host: The `TransformerBridge`.
        points: All of its hook points.
        z_points: Those of z.
    """

    def __init__(self, host: Any, points: Iterable[Any], z_points: Collection[Any]) -> None:
        of_z = {id(point) for point in z_points}
        bridges = [module for module in host.modules() if getattr(module, "original_component", None) is not None]
        self._behind = [(bridge, bridge.original_component) for bridge in bridges]
        originals = {id(bridge): original for bridge, original in self._behind}
        owners = [bridge for bridge in bridges if of_z & set(map(id, bridge._modules.values()))]
        hooked = {id(owner.original_component): owner for owner in owners}
        self._places = []
        for parent in host.original_model.modules():
            for name, child in () if id(parent) in originals else parent._modules.items():
                original = originals.get(id(child), child)
                wanted = hooked.get(id(original), original)  # heads write through the module with their hook point
                if wanted is not child:
                    self._places.append((parent._modules, name, child, wanted))
        passed = {id(point): point for point in (*points, *(bridge for bridge in bridges if bridge not in owners))}
        self._hooks = [getattr(module, kind) for key, module in passed.items() if key not in of_z for kind in HOOKS]
        self._n_hooks = sum(map(len, self._hooks))
        """Functions that TransformerLens has put there: they hand activations on to hook points of other names."""

    def is_enough(self) -> bool:
        """Tell whether nobody has put a function on what would be passed by, and all modules are those of the start.

        An adapter stands behind a module of TransformerBridge, or in its place, where transformers would not see it.
        """
        return (
            sum(map(len, self._hooks)) == self._n_hooks
            and all(bridge.original_component is original for bridge, original in self._behind)
            and all(modules[name] is module for modules, name, module, _ in self._places)
        )

    def in_place(self) -> AbstractContextManager[None]:
        """Put the modules of transformers in place for as long as the context lasts."""
        return swapped(self._places)
