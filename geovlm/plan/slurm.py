"""Writes the batch script with which Slurm starts a run, and starts it again after a requeue.

Not yet run on a cluster: tests run the script with stand-ins for `srun` and `scontrol`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError
from geovlm.run.process import python
from geovlm.run.vllm import server

if TYPE_CHECKING:
    from geovlm.plan.build import Plan

SCRIPT = "job.sbatch"
"""Name of the script in the run folder."""
_CORES = 8
"""Cores per process without `cpus-per-task`; Slurm's own default is one core for all processes."""
_BEFORE_S = 120
"""Seconds before the end of the job's time at which the run is stopped."""
_OPTION = re.compile(r"[a-z][a-z0-9-]*(=.+)?", re.DOTALL)
_PLAIN = re.compile(r"[\w@%+=:,./\[\]-]*")
_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")
_OWN = ("nodes", "ntasks", "ntasks-per-node", "output", "open-mode", "requeue", "no-requeue")
_BODY = """
set -uo pipefail
cd {folder} || exit

# A requeued job resumes from the run folder. Without this signal the launchers would have KillWait
# seconds to save.
# shellcheck disable=SC2329  # the trap calls it
requeue() {{
  echo "the time is nearly up: save and requeue" >&2
  scancel --signal=TERM "$SLURM_JOB_ID"  # to the launchers, not to this script
  for ((waited = 0; waited < {patience}; waited++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 1
  done
  scontrol requeue "$SLURM_JOB_ID"
  interrupted=1
}}
interrupted=
trap requeue USR1

main=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))  # one port for each stage, from here on

# one launcher on each machine; every launcher starts its machine's ranks itself
# shellcheck disable=SC2016  # the rank is known on the machine only
srun --nodes={machines} --ntasks={machines} --ntasks-per-node=1 --kill-on-bad-exit=0 \\
  --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
  bash -c {inner} {name} "$main:$port" &
pid=$!
wait "$pid"
status=$?
while [[ -n $interrupted ]]; do  # a signal had ended the wait
  interrupted=
  wait "$pid"
  status=$?
done
exit "$status"
"""


def script(plan: Plan, *, options: Sequence[str] = (), folder: Path | None = None) -> str:
    """Return a complete batch script, with options of sbatch such as `time=24:00:00`.

    It resumes the run folder that was written with the script, so that the first start, a requeue
    and a second submission are the same command. It works in `folder`, or else in the present one.

    Raises:
        ConfigError: it is not an option of sbatch, or the script sets it itself.
    """
    config = plan.config
    name = "geovlm-" + re.sub(r"[^\w.-]+", "-", plan.output.name)
    lines = [
        f"--job-name={name}",
        f"--nodes={config.machines}",
        "--ntasks-per-node=1",
        *([f"--gpus-per-node={config.per_machine}"] if config.device == "cuda" else []),
        f"--cpus-per-task={_CORES * config.per_machine}",
        # sbatch replaces %j by the number of the job, and %% by %
        "--output=" + _quoted(f"{plan.output}/slurm-".replace("%", "%%") + "%j.txt"),
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{_BEFORE_S}",
    ]
    given = [f"--{_checked(option)}" for option in options]
    names = {option.partition("=")[0] for option in given}
    lines = [line for line in lines if line.partition("=")[0] not in names] + given
    argv = python("-m", "geovlm.cli", "run", "--resume", "--output", str(plan.output))
    inner = f"exec {shlex.join(argv)} --machines {config.machines}"
    inner += ' --machine-rank "$SLURM_PROCID" --main-address "$1"'
    body = _BODY.format(
        folder=shlex.quote(str(folder or Path.cwd())),
        patience=_BEFORE_S - 20,
        machines=config.machines,
        inner=shlex.quote(inner),
        name=shlex.quote(name),
    )
    stages = [f"# {line}" for line in _stages(plan)]
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), *stages]) + "\n" + body


def _stages(plan: Plan) -> list[str]:
    """Return the place of each stage, for readers of the script."""
    made = []
    for index, stage in enumerate(plan.stages):
        line = f"{stage.folder}: {stage.processes} processes"
        placed = server.placement(plan.config, index)
        if placed is not None:
            line += f"; vLLM on machine {placed.machine}, GPUs {','.join(map(str, placed.gpus))}"
        made.append(line)
    return made


def _checked(option: str) -> str:
    bare = option.strip()
    name = bare.partition("=")[0]
    if not _OPTION.fullmatch(bare) or "\n" in bare:
        raise ConfigError(
            f"--sbatch {option!r} is not an option of sbatch", hint="such as --sbatch time=24:00:00"
        )
    if name in _OWN:
        raise ConfigError(
            f"--sbatch {option!r}: the script sets {name} itself",
            hint="--machines sets the nodes, --output the run folder",
        )
    name, equals, value = bare.partition("=")
    return f"{name}{equals}{value if _QUOTED.fullmatch(value) else _quoted(value)}"


def _quoted(value: str) -> str:
    """Return a value of an `#SBATCH` line as one word of sbatch.

    Quotes group characters, a backslash takes the next one as it is, in quotes too, and `#` begins
    a comment; nothing is expanded (`_get_argument` in src/sbatch/opt.c of Slurm).
    """
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
