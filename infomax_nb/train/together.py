"""Processes that train one run together: what they exchange, and how they stop at the same step."""

import math
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import distributed

SECONDS = 1.0  # between two questions whether a process was asked to stop
MOST_STEPS = 100  # the same in steps


def gradients_alone() -> DDPStrategy:
    """What averages gradients at each step, where they lie, and sends nothing else.

    BatchNorm's running statistics are made equal before an evaluation
    (`distributed.share_buffers`).
    """
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


class ExitSignal:
    """SIGTERM to any of the processes, made known to all of them before the same step.

    About once a second they ask each other whether one was asked to stop. Each reads the answer
    when it asks the next time, so that no step waits for it.

    Args:
        device: where the answer is reduced: that of the process group.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.asked = False
        self.steps_left = 1
        self.steps = 1
        self.last = -math.inf  # so the first question is asked again at the next step
        self.answer: torch.Tensor | None = None
        self.wait: Callable[[], Any]

    def listen(self) -> None:
        """Note SIGTERM from now on, instead of what Lightning would do: a broadcast at once."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: Any) -> None:
        self.asked = True

    def agreed(self) -> bool:
        """Whether all processes stop here. Each of them calls this before each step."""
        self.steps_left -= 1
        if self.steps_left > 0:
            return False
        steps = 1
        if self.answer is not None:
            self.wait()
            steps = int(self.answer)
        self._ask()
        self.steps_left = self.steps = steps
        return steps == 0

    def _ask(self) -> None:
        """Ask after how many steps to ask again, which is 0 if one process is to stop."""
        now = time.monotonic()
        steps = int(self.steps * SECONDS / max(now - self.last, 1e-6))
        self.last = now
        own = 0 if self.asked else min(max(steps, 1), MOST_STEPS)
        answer = torch.full((), own, device=self.device)
        work = distributed.all_reduce(answer, distributed.ReduceOp.MIN, async_op=True)
        self.answer = answer
        self.wait = work.wait
        if answer.is_cuda:
            work.wait()  # by the stream, not by this process
            self.answer = answer.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self.wait = event.synchronize


class StepsTogether(_TrainingEpochLoop):
    """Lightning's loop over the steps of an epoch, with `ExitSignal` in place of its own exchange.

    That one is a broadcast at each step, for which every process waits.
    """

    def __init__(self, trainer):
        super().__init__(trainer)
        self.exit_signal = ExitSignal(trainer.strategy.root_device)

    def on_run_start(self, data_fetcher) -> None:
        super().on_run_start(data_fetcher)
        self.exit_signal.listen()

    def _broadcast_sigterm_tensor(self) -> None:
        if self.exit_signal.agreed():
            raise SIGTERMException
