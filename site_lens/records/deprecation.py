"""Renamed keywords: the old name still works, with a warning, for one release."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def renamed_keyword(**new_names: str) -> Callable[[F], F]:
    """Accept old keywords of a function, given as `old="new"`, with a DeprecationWarning."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            for old, new in new_names.items():
                if old in kwargs:
                    warnings.warn(f"{function.__name__}({old}=) is now {new}=", DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(F, call)

    return decorate
