"""`python workflow/table1.py CIFAR-10 out.csv`: rows of the paper's Table 1 and what was measured of them.

`-p NAME VALUE` changes every configuration, as papermill does; the runs' records are written beside the table.
"""

import argparse
import json
from pathlib import Path

import yaml

from infomax_nb.config import TrainConfig, project_root
from infomax_nb.report import table1
from infomax_nb.train import Run, write_whole

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("dataset", help="as the table names it")
parser.add_argument("out", type=Path)
parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
arguments = parser.parse_args()
changes = {name: yaml.safe_load(value) for name, value in arguments.p}
table = table1(**changes)
table = table[table.dataset == arguments.dataset].assign(**{k: v for k, v in changes.items() if k != "data_root"})
files = [project_root() / "params" / "paper" / f"{file}.yaml" for file in table.params]
records = [Run(TrainConfig.from_yaml(file, **changes).run_dir).record for file in files]
write_whole(arguments.out, lambda p: table.to_csv(p, index=False, float_format="%.5g"))
write_whole(arguments.out.with_suffix(".json"), lambda p: p.write_text(json.dumps(records, indent=1)))
print(table.to_string(index=False))
