"""The event of a canceled run calls each registered callback once, and none that was unregistered."""

import os
import signal
import threading

from starlake_dagster_components.cancellation_event import Canceled


def test_callbacks_run_when_the_event_is_set() -> None:
    canceled = Canceled()
    calls: list[str] = []
    with canceled.notify(lambda: calls.append("one")), canceled.notify(lambda: calls.append("other")):
        assert calls == []
        canceled.set()
        canceled.set()
        assert calls == ["one", "other"]
    assert canceled.is_set()


def test_a_block_that_was_left_is_not_called() -> None:
    canceled = Canceled()
    calls: list[str] = []
    with canceled.notify(lambda: calls.append("late")):
        pass
    canceled.set()
    assert calls == []


def test_a_callback_runs_at_once_when_the_event_was_set_before() -> None:
    canceled = Canceled()
    canceled.set()
    calls: list[str] = []
    with canceled.notify(lambda: calls.append("at once")):
        assert calls == ["at once"]


def test_a_waiting_thread_is_woken_from_a_signal_handler() -> None:
    canceled, woken = Canceled(), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: canceled.set())
    try:
        with canceled.notify(woken.set):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert woken.wait(300)
    finally:
        signal.signal(signal.SIGUSR1, before)
