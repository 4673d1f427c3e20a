"""The place of a machine, from options, torchrun's variables and those of cluster operators."""

from __future__ import annotations

import pytest

from geovlm.errors import ConfigError
from geovlm.run.machines import Machine, find, without_launcher

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "node7",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}


def by_options(machines, rank, address, variables=None):
    return find(
        machines=machines, machine_rank=rank, main_address=address, variables=variables or {}
    )


def test_alone_without_options_and_variables():
    assert by_options(None, None, None) == Machine()
    assert by_options(None, None, None).alone
    assert by_options(1, None, None) == Machine()


def test_options_say_rank_and_address():
    machine = by_options(2, 1, "node01:29500")
    assert (machine.rank, machine.count, machine.host, machine.port) == (1, 2, "node01", 29500)
    assert not machine.leads
    assert by_options(2, 0, "[fe80::1]:29500").host == "fe80::1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2, None, "a:1"), "--machine-rank is missing"),
        ((2, 0, None), "--main-address is missing"),
        ((2, 2, "a:1"), "--machine-rank 2 of 2 machines"),
        ((2, 0, "a"), "is not HOST:PORT"),
        ((2, 0, "a:b"), "is not HOST:PORT"),
        ((2, 0, "a:65001"), "is not HOST:PORT"),
        ((None, 1, None), "--machine-rank 1 of 1 machines|--main-address is missing"),
    ],
)
def test_incomplete_options_are_refused_with_the_fix(given, message):
    with pytest.raises(ConfigError, match=message):
        by_options(*given)


def test_the_first_process_of_each_machine_of_torchrun_starts_its_ranks():
    second = find(machines=None, machine_rank=None, main_address=None, variables=TORCHRUN)
    assert (second.rank, second.count, second.waits, second.local_processes) == (1, 2, True, 4)
    assert (second.host, second.port) == ("node7", 29501)
    first = TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"}
    alone = find(machines=None, machine_rank=None, main_address=None, variables=first)
    assert alone.leads
    assert not alone.alone  # three more processes wait


def test_an_operators_variables_are_one_launcher_per_machine():
    variables = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "m", "MASTER_PORT": "1000"}
    machine = find(machines=None, machine_rank=None, main_address=None, variables=variables)
    assert machine == Machine(rank=1, count=2, host="m", port=1001)
    one = variables | {"RANK": "0", "WORLD_SIZE": "1"}
    assert find(machines=None, machine_rank=None, main_address=None, variables=one).alone


def test_variables_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="inside a launched job: RANK is 5 of 8"):
        by_options(2, 0, "a:1", TORCHRUN)
    with pytest.raises(ConfigError, match="MASTER_ADDR is not"):
        by_options(None, None, None, {"RANK": "0", "WORLD_SIZE": "2"})
    with pytest.raises(ConfigError, match="RANK is 'x'"):
        by_options(None, None, None, {"RANK": "x", "WORLD_SIZE": "2"})
    with pytest.raises(ConfigError, match="WORLD_SIZE 7 is not a multiple"):
        by_options(None, None, None, TORCHRUN | {"WORLD_SIZE": "7"})


def test_a_stage_does_not_inherit_the_ranks_of_the_job_around_it():
    theirs = {"PMI_SIZE": "8", "ACCELERATE_USE_FSDP": "true", "ACCELERATE_MIXED_PRECISION": "fp16"}
    own = {"HOME": "/root", "ACCELERATE_LOG_LEVEL": "info"}
    assert without_launcher(TORCHRUN | theirs | own) == own
