"""Objects that all steps of a process share, such as connections and pollers."""

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def share_in_process(build: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that it returns the same object for the same positional arguments. A forked process gets its own objects."""
    shared: dict[object, T] = {}
    lock = threading.Lock()

    @wraps(build)
    def find(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            key = (os.getpid(), args)
            if key not in shared:
                shared[key] = build(*args, **kwargs)
            return shared[key]

    return find
