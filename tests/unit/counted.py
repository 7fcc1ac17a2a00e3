"""Trains runs as one of several processes, and notes what they exchange at three steps.

`counted.py [CONFIG, ...]`, in JSON. The first process writes `METHOD.json` to the folder of a run's
directory: name and shapes of each collective operation that torch's profiler sees, DDP's own among
them.
"""

import json
import sys
from pathlib import Path

from lightly.utils.dist import rank
from torch.profiler import ProfilerActivity, profile

from infomax_nb.config import TrainConfig
from infomax_nb.methods import METHODS, Method
from infomax_nb.train.fitting import fit

# The steps whose forward passes begin and end what is counted.
FIRST = 2
LAST = 5


def counted(kind: type[Method]) -> type[Method]:
    """The method, which profiles three of its steps and notes what it saw."""

    class Counted(kind):
        def forward(self, *given):
            if self.step == FIRST:
                self.seen = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
                self.seen.start()
            if self.step == LAST:
                self.seen.stop()
                events = [each for each in self.seen.events() if each.name.startswith("gloo:")]
                if rank() == 0:
                    seen = [[each.name, each.input_shapes] for each in events]
                    place = Path(self.config.runs_dir) / f"{self.config.method}.json"
                    place.write_text(json.dumps(seen))
            return super().forward(*given)

    return Counted


if __name__ == "__main__":
    configs = json.loads(sys.argv[1])
    for name in {config["method"] for config in configs}:
        METHODS[name] = counted(METHODS[name])
    for config in configs:
        fit(TrainConfig(**config))
