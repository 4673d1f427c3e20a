"""The batch script: checked by bash, and run with stand-ins for Slurm's commands."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geovlm import cli
from geovlm.plan import slurm

FAST = ("--tasks", "xbd/count", "--set", "sample.records=4")
SRUN = """#!/bin/bash
# as srun: the command once per task, each with its number; ends with the worst status
while [[ $1 == --* ]]; do
  [[ $1 == --ntasks=* ]] && n=${1#--ntasks=}
  shift
done
worst=0
for ((i = 0; i < n; i++)); do SLURM_PROCID=$i "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || worst=$?; done
exit $worst
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo node01; echo node02; else echo "$@" >> "$SAID"; fi
"""
SCANCEL = """#!/bin/bash
echo "$@" >> "$SAID"
touch "$SAID.stop"
"""
LAUNCHER = """#!/bin/bash
echo "$@" >> "$SAID"
for ((i = 0; i < 10 * ${HOLD:-0}; i++)); do
  [[ -e "$SAID.stop" ]] && echo saved >> "$SAID" && exit 0
  sleep 0.1
done
exit "${STATUS:-0}"
"""


_COMMANDS = {"srun": SRUN, "scontrol": SCONTROL, "scancel": SCANCEL, "launcher": LAUNCHER}


@pytest.fixture
def launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a script as Slurm would; returns (status or process, what the launchers were told)."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in _COMMANDS.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    said = tmp_path / "said"

    def start(script: Path, **variables: str) -> subprocess.Popen[bytes]:
        text = script.read_text().replace(sys.executable, str(commands / "launcher"))
        script.write_text(text)
        job = {"SLURM_JOB_ID": "45678", "SLURM_JOB_NODELIST": "node[01-02]", "SAID": str(said)}
        job |= {"SLURM_CPUS_PER_TASK": "8"}
        paths = {"PATH": f"{commands}:{os.environ['PATH']}"}
        return subprocess.Popen(["bash", str(script)], env=os.environ | job | paths | variables)

    return start, said


def write(folder: Path, *extra: str, capsys: pytest.CaptureFixture[str]) -> Path:
    argv = ["run", *FAST, "--launcher", "slurm", "--output", str(folder / "a run"), *extra]
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    told = capsys.readouterr()
    assert left.value.code == 0, told.err
    line = ["sbatch", str(folder / "a run" / "job.sbatch")]
    (start,) = [each for each in told.err.splitlines() if each.startswith("to start: ")]
    assert shlex.split(start.removeprefix("to start: ")) == line
    return Path(told.out.strip())


def test_a_script_for_two_machines_of_eight_gpus(tmp_path, capsys):
    options = ("time=24:00:00", "exclusive", "job-name=mine")
    extra = [word for option in options for word in ("--sbatch", option)]
    script = write(tmp_path, "--machines", "2", "--gpus", "8", *extra, capsys=capsys)
    lines = script.read_text().splitlines()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert asked == [
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=8",
        "--cpus-per-task=64",
        f'--output="{tmp_path}/a run/slurm-%j.txt"',
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--time=24:00:00",
        "--exclusive",
        "--job-name=mine",
    ]
    assert "# 0-sft: 16 processes" in lines
    assert (script.parent / "resolved.json").is_file()
    subprocess.run(["bash", "-n", str(script)], check=True)


def words(line: str) -> list[str]:
    """Split the rest of an #SBATCH line as `_get_argument` of src/sbatch/opt.c does, 23.11."""
    found, word, quote, at = [], None, "", 0
    while at < len(line):
        char = line[at]
        if char == "\\":
            at += 1
            word = (word or "") + line[at]
        elif quote:
            quote, word = ("", word) if char == quote else (quote, (word or "") + char)
        elif char in "\"'":
            quote, word = char, word or ""
        elif char == "#":
            break
        elif char.isspace():
            found, word = ([*found, word], None) if word is not None else (found, None)
        else:
            word = (word or "") + char
        at += 1
    return found if word is None else [*found, word]


@pytest.mark.parametrize(
    "value",
    ["a b", "it's", 'say "hi"', "C:\\x", "50 # 60", "$HOME", "Straße", "[gpu&ib]", "a;b", ""],
)
def test_any_value_of_an_option_is_one_word_of_sbatch(value: str) -> None:
    assert words(f"--comment={slurm._quoted(value)} --next") == [f"--comment={value}", "--next"]


def test_a_value_with_blanks_is_quoted_and_a_quoted_one_kept(tmp_path, capsys):
    options = ("comment=a b", 'constraint="[a|b]"', "mail-type=END,FAIL", "time=1-00:00:00")
    extra = [word for option in options for word in ("--sbatch", option)]
    lines = write(tmp_path, *extra, capsys=capsys).read_text().splitlines()
    assert '#SBATCH --comment="a b"' in lines
    assert '#SBATCH --constraint="[a|b]"' in lines
    assert "#SBATCH --mail-type=END,FAIL" in lines
    assert "#SBATCH --time=1-00:00:00" in lines


def test_a_folder_of_any_name_works(tmp_path, capsys, launchers):
    start, said = launchers
    folder = tmp_path / 'it\'s $HOME "50%" ü -x'
    script = write(folder, "--processes", "1", capsys=capsys)
    assert start(script).wait(timeout=60) == 0
    assert f"run --resume --output {folder}/a run --machines 1" in said.read_text()
    (output,) = [line for line in script.read_text().splitlines() if "--output" in line[:20]]
    named = f"{folder}/a run/slurm-".replace("%", "%%") + "%j.txt"
    assert words(output.removeprefix("#SBATCH")) == [f"--output={named}"]


def test_the_script_starts_one_launcher_per_machine(tmp_path, capsys, launchers):
    start, said = launchers
    script = write(tmp_path, "--machines", "2", "--processes", "1", capsys=capsys)
    assert start(script).wait(timeout=60) == 0
    run = f"-P -m geovlm.cli run --resume --output {tmp_path}/a run --machines 2 --machine-rank"
    assert sorted(said.read_text().splitlines()) == [
        f"{run} {rank} --main-address node01:25678" for rank in (0, 1)
    ]


def test_the_script_ends_with_the_status_of_its_launchers(tmp_path, capsys, launchers):
    start, _ = launchers
    script = write(tmp_path, "--machines", "2", "--processes", "1", capsys=capsys)
    assert start(script, STATUS="2").wait(timeout=60) == 2


def test_a_job_whose_time_is_nearly_up_saves_and_is_requeued_once(tmp_path, capsys, launchers):
    start, said = launchers
    script = write(tmp_path, "--machines", "2", "--processes", "1", capsys=capsys)
    job = start(script, HOLD="30")
    deadline = time.monotonic() + 30
    while not (said.exists() and len(said.read_text().splitlines()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(10)  # SIGUSR1, as --signal=B:USR1@120 sends it
    assert job.wait(timeout=25) == 0
    assert said.read_text().splitlines()[2:] == [
        "--signal=TERM 45678",
        "saved",
        "saved",
        "requeue 45678",
    ]


def test_a_dry_run_prints_the_script_and_writes_nothing(tmp_path, capsys):
    output = tmp_path / "out"
    argv = ["run", *FAST, "--launcher", "slurm", "--machines", "2", "--gpus", "4"]
    with pytest.raises(SystemExit) as left:
        cli.main([*argv, "--output", str(output), "--dry-run"])
    told = capsys.readouterr().out
    assert left.value.code == 0
    assert "# 0-sft, machine 1: ranks 4 to 7 of 8, ddp, GPUs 0,1,2,3\n" in told
    assert "\n#SBATCH --gpus-per-node=4\n" in told
    assert not output.exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--launcher", "pbs"), "--launcher 'pbs' is not known"),
        (("--sbatch", "time=1"), "--sbatch is for --launcher slurm"),
        (("--launcher", "slurm", "--machine-rank", "0"), "come from the batch script"),
        (("--launcher", "slurm", "--sbatch", "nodes=4"), "the script sets nodes itself"),
        (("--launcher", "slurm", "--sbatch", "a b"), "is not an option of sbatch"),
        (("--machines", "2", "--machine-rank", "0"), "--main-address is missing"),
        (("--machines", "2", "--machine-rank", "0", "--main-address", "a:1"), "--output is"),
        (("--set", "machines=2"), "is for 2 machines, and this is the only one"),
    ],
)
def test_impossible_requests_are_one_line(extra, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["run", *FAST, *extra])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
