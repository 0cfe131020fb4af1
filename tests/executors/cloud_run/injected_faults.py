"""Faults that the Cloud Run server of the tests injects into calls."""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True)
class Fault:
    """The fault of one call.

    Attributes:
        code: the status that the caller gets; None for the answer.
        lost: the call is carried out although the caller gets ``code``.
        before, after: seconds that the server sleeps before and after carrying it out.
    """

    code: grpc.StatusCode | None = None
    lost: bool = False
    before: float = 0.0
    after: float = 0.0
    message: str = "injected"


Faults = Callable[[str, Any], Fault | None]


def draw_faults(
    share: float,
    seed: int,
    *,
    codes: Sequence[grpc.StatusCode] = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL),
    methods: Iterable[str] | None = None,
) -> Faults:
    """Let a share of the calls fail; half of those that are not about quota are carried out all the same."""
    chance = random.Random(seed)
    lock = threading.Lock()
    wanted = set(methods) if methods else None

    def faults(method: str, request: Any) -> Fault | None:
        with lock:
            if (wanted and method not in wanted) or chance.random() >= share:
                return None
            code = chance.choice(list(codes))
            lost = code != grpc.StatusCode.RESOURCE_EXHAUSTED and chance.random() < 0.5
        return Fault(code=code, lost=lost)

    return faults
