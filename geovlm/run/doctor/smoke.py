"""Smoke tests of `geovlm doctor` in separate processes: ranks, one training step, vLLM."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from geovlm.errors import GeoVLMError, RunFailedError
from geovlm.plugins import installed
from geovlm.run import files, launch
from geovlm.run.doctor.machine import Check
from geovlm.run.machines import Machine
from geovlm.run.parallel import Layout
from geovlm.run.process import execute
from geovlm.run.vllm import server

WORKER = "geovlm.engine.programs.doctor"
VLLM_SUPPORTED = ("0.22.0", "0.31.0")
"""First and last version that TRL 1.16.0 supports (trl/import_utils.py)."""
_START_S = 600.0
"""Seconds for the imports of a worker on a busy machine."""
_PARALLEL = {
    "nccl": "try NCCL_DEBUG=INFO; NCCL_P2P_DISABLE=1 or NCCL_IB_DISABLE=1 tell which path hangs; "
    "a container needs --shm-size=8g",
    "gloo": "set GLOO_SOCKET_IFNAME to the interface that the host name resolves to, such as lo",
}


_ABOVE = "its output is above; 'geovlm run' would fail in the same way"
_RANK = re.compile(r"^\[rank\d+\]: ", re.M)
_EXCEPTION = re.compile(
    r"^Traceback \(most recent call last\):\n(?: .*\n)*(\S.*?(?::\n.+|$))", re.M
)
_OF_IMPORTS = ("ImportError: ", "ModuleNotFoundError: ")
_OF_LAUNCHER = ("torch.distributed.elastic.", "subprocess.CalledProcessError")


class Ranks(NamedTuple):
    """Number and device of the processes."""

    number: int
    device: Literal["cpu", "cuda"]

    @property
    def backend(self) -> str:
        """Communication backend of torch.distributed."""
        return "gloo" if self.device == "cpu" else "nccl"


class _Ended(NamedTuple):
    error: str
    """Message of the worker's failure, or empty."""
    notes: list[dict[str, Any]]
    """Notes of each rank; empty for a rank that wrote none."""
    imports: bool = False
    """True if an import failed."""


def ranks(wanted: Ranks, *, deadline_s: float, module: str = WORKER) -> list[Check]:
    """Start the ranks, run an all-reduce and one training step."""
    ended = _run("ranks", wanted, deadline_s=deadline_s, module=module)
    first = ended.notes[0]
    checks = [_devices(first["devices"], wanted)] if "devices" in first else []
    started = any("devices" in each for each in ended.notes)
    if ended.error and (not started or ended.imports):
        fix = f"the imports of a stage fail; {_ABOVE}"
        return [*checks, Check("start of a stage", "FAIL", ended.error, fix)]
    title, where = "all-reduce", f"{wanted.number} ranks by {wanted.backend}"
    if not all("reduced" in each for each in ended.notes):
        lost = ", ".join(str(i) for i, each in enumerate(ended.notes) if "joined" not in each)
        found = f"{where}: {ended.error or 'no answer'}{lost and f'; not joined: rank {lost}'}"
        fix = _PARALLEL[wanted.backend] if wanted.number > 1 else _ABOVE
        return [*checks, Check(title, "FAIL", found, fix)]
    seconds = max(each["reduced"]["seconds"] or 0.0 for each in ended.notes)
    if wanted.number == 1:
        checks.append(Check(title, "ok", "one rank: not needed"))
    else:
        size = first["reduced"]["bytes"]
        rate = f"{1000 * seconds:.1f} ms, {size / seconds / 1e9:.2f} GB/s"
        checks.append(Check(title, "ok", f"{where}: {size >> 20} MB in {rate}"))
    if ended.error or "trained" not in first:
        return [*checks, Check("training step", "FAIL", ended.error or "no answer", _ABOVE)]
    step = first["trained"]
    same = ", the same weights on all ranks" if wanted.number > 1 else ""
    found = f"SFT of {step['model']} on {wanted.device}: loss {step['loss']:.2f}{same}"
    return [*checks, Check("training step", "ok", found)]


def vllm(wanted: Ranks, *, deadline_s: float, module: str = WORKER) -> list[Check]:
    """Compare vLLM's answers with transformers': prompts with images, changed weights, adapters."""
    from packaging.version import Version

    version = _vllm_version()
    if version is None:
        return [Check("vLLM", "ok", "not installed: GRPO generates by transformers")]
    low, high = VLLM_SUPPORTED
    if not Version(low) <= Version(Version(version).base_version) <= Version(high):
        fix = f"TRL supports {low} to {high}: pip install 'trl[vllm]'"
        return [Check("vLLM", "FAIL", version, fix)]
    if wanted.device == "cpu" and not server.serves_cpu():
        fix = "its weight sync needs a GPU, or the environment of make vllm"
        return [Check("vLLM", "warn", f"{version}, not tried", fix)]
    ended = _run("vllm", Ranks(1, wanted.device), deadline_s=deadline_s, module=module)
    fix = "use generation='transformers', or the versions of constraints-vllm.txt"
    if ended.error or "compared" not in ended.notes[0]:
        return [Check("vLLM", "FAIL", f"{version}: {ended.error or 'no answer'}", fix)]
    parts = ended.notes[0]["compared"]["parts"]
    good = [each for each in parts if not each["problem"]]
    checks = [
        Check(f"vLLM, {each['name']}", "FAIL", each["problem"], fix)
        for each in parts
        if each["problem"]
    ]
    if good:
        apart = max(each["apart"] for each in good)
        names = ", ".join(each["name"] for each in good)
        found = f"{version}: {names}: log-probabilities within {apart:.2g} of transformers'"
        checks.append(Check("vLLM", "ok", found))
    return checks


def _vllm_version() -> str | None:
    """Return vLLM's version, whatever the name of the distribution that it comes from."""
    own = installed.version("vllm")
    if own is not None or importlib.util.find_spec("vllm") is None:
        return own
    return next(
        (installed.version(name) for name in metadata.packages_distributions().get("vllm", ())),
        None,
    )


def _run(stage: str, wanted: Ranks, *, deadline_s: float, module: str) -> _Ended:
    """Run the worker; return its error and the notes of its ranks."""
    on_cpu = wanted.device == "cpu"
    with tempfile.TemporaryDirectory(prefix="geovlm-doctor-") as scratch:
        folder = Path(scratch)
        settings = {"ranks": wanted.number, "device": wanted.device, "deadline_s": deadline_s}
        files.write_json(folder / "settings.json", settings)
        ranks = Layout(machine=Machine(), world_size=wanted.number, machines=1, local=wanted.number)
        yaml = None
        if not launch.is_alone(ranks, scheme="ddp"):
            yaml = folder / "accelerate.yaml"
            port = launch.free_port()
            yaml.write_text(
                launch.accelerate_config(ranks, on_cpu=on_cpu, port=port), encoding="utf-8"
            )
        error, imports = "", False
        limit_s = _START_S + 8 * deadline_s
        ends = time.monotonic() + limit_s

        def check() -> None:
            if time.monotonic() > ends:
                raise TimeoutError

        try:
            outcome = execute(
                launch.command(yaml, run=folder, stage=stage, module=module),
                variables=launch.environment(wanted.number, on_cpu=on_cpu),
                log=folder / "stderr.txt",
                check=check,
            )
            launch.raise_for(outcome, name=stage, log=folder / "stderr.txt")
        except TimeoutError:
            error = f"did not end within {limit_s:g} s"
        except RunFailedError as failed:
            raised = _exceptions(folder / "stderr.txt")
            imports = any(each.startswith(_OF_IMPORTS) for each in raised)
            error = _told(raised, imports=imports) or str(failed.args[0])
        except GeoVLMError as refused:
            error = str(refused)
        paths = [folder / f"rank-{i}.json" for i in range(wanted.number)]
        notes = [files.read_json(path) if path.is_file() else {} for path in paths]
        return _Ended(error, notes, imports)


def _exceptions(log: Path) -> list[str]:
    """Return the end of each traceback of a rank, one line each, in their order."""
    if not log.is_file():
        return []
    text = _RANK.sub("", log.read_text(encoding="utf-8", errors="replace"))
    found = _EXCEPTION.findall(text)
    return [" ".join(each.split()) for each in found if not each.startswith(_OF_LAUNCHER)]


def _told(raised: Sequence[str], *, imports: bool) -> str:
    """Return the exception that explains the others; empty if there is none.

    That is the last one. Of failed imports it is the first one too: transformers raises another
    exception from it, which names no cause, and the other ranks end for want of that one.
    """
    if not imports:
        return raised[-1] if raised else ""
    last = next(each for each in reversed(raised) if each.startswith(_OF_IMPORTS))
    return last if last == raised[0] else f"{raised[0]}; then {last}"


def _devices(found: dict[str, Any], wanted: Ranks) -> Check:
    """Check the GPUs that torch finds."""
    build = f"torch {found['torch']}"
    if not found["gpus"]:
        if wanted.device == "cuda":
            fix = "install a CUDA build of torch that fits the driver (see nvidia-smi)"
            return Check("GPUs", "FAIL", f"{build} finds none", fix)
        return Check("GPUs", "ok", f"none: the CPU is used, {build}")
    named = "; ".join(
        f"{each['name']}, {each['bytes'] / 2**30:.0f} GiB, {each['capability']}"
        for each in found["gpus"]
    )
    if not found["bf16"]:
        fix = "stages train in bfloat16 on GPUs: compute capability 8.0 or newer is needed"
        return Check("GPUs", "FAIL", f"{named}: no bfloat16", fix)
    return Check("GPUs", "ok", f"{named}; {build}, CUDA {found['cuda']}")
