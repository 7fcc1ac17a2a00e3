"""What the build of a wheel adds to the package: one trained network, for `pretrained()`."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NetworkHook(BuildHookInterface):
    """Takes the files of the network that pyproject.toml names; an editable install has them all.

    Raises:
        FileNotFoundError: there are no such files.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        name = self.config["network"]
        files = sorted(Path(self.root).glob(f"reports/networks/{name}.*"))
        if not files:
            raise FileNotFoundError(f"reports/networks/{name}.* is missing; the wheel carries it.")
        taken = {str(path): f"infomax_nb/shipped/{path.name}" for path in files}
        build_data["force_include"].update(taken)
