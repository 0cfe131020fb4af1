"""The event of a canceled run calls each registered callback once, and none that was unregistered."""

import os
import signal
import threading

from starlake_dagster_components.cancellation_event import Cancelled


def test_callbacks_run_when_the_event_is_set() -> None:
    cancelled = Cancelled()
    calls: list[str] = []
    with cancelled.notify(lambda: calls.append("one")), cancelled.notify(lambda: calls.append("other")):
        assert calls == []
        cancelled.set()
        cancelled.set()
        assert calls == ["one", "other"]
    assert cancelled.is_set()


def test_a_block_that_was_left_is_not_called() -> None:
    cancelled = Cancelled()
    calls: list[str] = []
    with cancelled.notify(lambda: calls.append("late")):
        pass
    cancelled.set()
    assert calls == []


def test_a_callback_runs_at_once_when_the_event_was_set_before() -> None:
    cancelled = Cancelled()
    cancelled.set()
    calls: list[str] = []
    with cancelled.notify(lambda: calls.append("at once")):
        assert calls == ["at once"]


def test_a_waiting_thread_is_woken_from_a_signal_handler() -> None:
    cancelled, woken = Cancelled(), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: cancelled.set())
    try:
        with cancelled.notify(woken.set):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert woken.wait(10)
    finally:
        signal.signal(signal.SIGUSR1, before)
