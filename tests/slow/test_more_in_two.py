"""What tests/unit/test_parallel.py asks of two methods, of each; also as Lightning starts
them; and torchrun's way to stop."""

import pytest
from two_processes import (
    LONG,
    METHODS,
    SINGLE,
    TORCHRUN,
    assert_both_stop_and_go_on,
    assert_same_path,
    stopped_never,
    trained,
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), SINGLE, 1, METHODS)


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("torchrun"), TORCHRUN, 2, METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_torchruns_two_processes_take_the_path_of_one(by_torchrun, alone, method):
    assert_same_path(by_torchrun[method], alone[method])


def test_lightnings_two_processes_take_the_path_of_one(tmp_path, alone):
    both = trained(tmp_path, SINGLE, 2, ["infomax"])
    assert_same_path(both["infomax"], alone["infomax"])


def test_sigterm_to_one_of_torchruns_processes_stops_both_at_the_same_step(tmp_path):
    """Its own status is 1 where a process's is 143."""
    unstopped = stopped_never(tmp_path / "unstopped", TORCHRUN, LONG)
    assert_both_stop_and_go_on(unstopped, tmp_path / "stopped", TORCHRUN, LONG, rank=1, status=1)
