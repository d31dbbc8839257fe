"""InterruptionGuard: the first signal is noted, the second acts, and handlers come back."""

import os
import signal

import pytest

from m5jax.training.interruption import InterruptionGuard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with InterruptionGuard() as guard:
        assert not guard.stop_after(1)
        os.kill(os.getpid(), number)
        assert guard.stop_after(1)
        assert guard.stop_after(2)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_acts_as_usual_whichever_the_first_was(first: signal.Signals) -> None:
    with InterruptionGuard():
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_guard_can_be_used_again() -> None:
    guard = InterruptionGuard()
    with guard:
        os.kill(os.getpid(), signal.SIGTERM)
    with guard:
        assert not guard.stop_after(1)
