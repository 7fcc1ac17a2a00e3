"""Whether a data set is at hand."""

from functools import cache

from infomax_nb.data.readers import READERS, packed_files
from infomax_nb.errors import ParameterError
from infomax_nb.files import data_place


@cache
def reason_against(dataset: str, data_root: str) -> str:
    """Why a data set's images cannot be read, in one sentence; empty if they can."""
    place = data_place(data_root)
    packed = packed_files(dataset, place)
    if packed and all(path.exists() for path in packed):
        return ""  # a run compares the published check sums
    try:
        for split in ("train", "test"):
            READERS[dataset](place, split)
    except ParameterError as error:
        return str(error)
    return ""
