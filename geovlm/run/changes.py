"""Decides which settings of a begun run may change, by the work that has used them.

A setting may change until the first work that it decides on has begun. Settings that decide on no
result, such as logging, may change at any time. Folders of data and the model may move: their
contents are compared by `geovlm.run.resuming`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from geovlm.run.folder import CHECKPOINT_MANIFEST, RunDir

FREE = frozenset(
    {"processes", "gpus", "machines", "machine_timeout_s", "parallel", "device", "timeout_s"}
    | {"output", "preset", "health", "share_images", "log_completions", "track", "track_project"}
    | {"data_files"}
)
"""Fields of the configuration that decide on no result, or whose contents are compared."""
_FREE_OF_STAGE = frozenset(
    {"processes", "parallel", "batch_size", "share_prompt", "vllm", "merge_adapters"}
    | {"on_fail", "min_format_rate", "keep_flat"}
)
"""Keys of a stage that may change until it is done: a probe reads the last three at its end."""
_FREE_OF_TRAINER = frozenset(
    {"disable_tqdm", "log_completions", "num_completions_to_print"}
    | {"logging_steps", "logging_strategy", "logging_first_step"}
    | {"logging_dir", "logging_nan_inf_filter", "log_level", "log_level_replica"}
    | {"save_steps", "save_total_limit", "gradient_checkpointing", "gradient_checkpointing_kwargs"}
    | {"dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_pin_memory"}
    | {"dataloader_persistent_workers", "torch_empty_cache_steps", "skip_memory_metrics"}
    | {"push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo"}
    | {"hub_always_push", "hub_revision"}
)
"""Arguments of a trainer that may change while it trains: logging, saving, reading, memory."""
_FREE_OF_SERVED = frozenset(
    {"base_url", "api_key_env", "concurrency", "requests_per_minute", "timeout_s", "retries"}
    | {"backoff_s", "input_price", "output_price", "cost_limit", "token_limit", "cache"}
)
"""Keys of `served` that decide on no answer."""
_FREE_OF_ANSWERING = frozenset({"url", "name", "memory", "max_model_len", "tolerance"})
"""Keys of `answering` that decide on no answer."""
_LATER = frozenset({"batch_size", "blind", "probes", "control_limit", "resamples"})
"""Keys of `eval` that only the evaluations to come read."""
_EVERYTHING = frozenset({"sft", "probe", "grpo", "eval"})
_READERS: Mapping[str, frozenset[str]] = {
    "rewards": frozenset({"probe", "grpo", "eval"}),
    "reward_options": frozenset({"probe", "grpo", "eval"}),
    "max_new_tokens": frozenset({"probe", "grpo", "eval"}),
    "lora": frozenset({"sft", "grpo"}),
    "eval": frozenset({"eval"}),
    "served": frozenset({"eval"}),
    "answering": frozenset({"probe", "eval"}),
}
"""Field of the configuration -> the kinds of work that it decides on; all, if it is not here."""


class Work(NamedTuple):
    """A part of a run that has begun."""

    name: str
    """`stage 0-sft`, or `the evaluation 'base'`."""
    kind: str
    """`sft`, `probe`, `grpo` or `eval`."""
    stage: int
    """Position of the stage; -1 for an evaluation."""
    done: bool


class Change(NamedTuple):
    """A setting with another value than before."""

    key: tuple[str, ...]
    """Its path: `("stages", "0", "steps")`."""
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """The path as `--set` takes it."""
        return ".".join(self.key)


def begun(run: RunDir, config: Mapping[str, Any]) -> list[Work]:
    """Return the work of a run that has results which a resumed run keeps, in order.

    A stage that was started and has saved nothing begins again, so it has not begun.
    """
    found = []
    evaluated = {name for task in run.read_metrics()["tasks"].values() for name in task["stages"]}
    answered = {path.parent.parent.name for path in run.path.glob("eval/*/answers/*.jsonl")}
    for name in sorted(evaluated | answered):
        found.append(Work(f"the evaluation {name!r}", "eval", -1, name not in answered))
    kept = ("model", f"checkpoints/*/{CHECKPOINT_MANIFEST}", "answers/*.jsonl")
    for index, stage in enumerate(config["stages"]):
        folder = run.stage(index)
        done = run.is_done(index)
        if done or any(any(folder.glob(pattern)) for pattern in kept):
            found.append(Work(f"stage {folder.name}", stage["kind"], index, done))
    return sorted(found, key=lambda work: work.stage if work.stage >= 0 else len(found))


def differences(before: Any, after: Any, *, key: tuple[str, ...] = ()) -> Iterator[Change]:
    """Yield every setting that differs; lists are compared place by place."""
    if isinstance(before, list) and isinstance(after, list) and key == ("stages",):
        before, after = (dict(enumerate(each)) for each in (before, after))
    in_data = key[:1] == ("data",)
    if in_data and len(key) == 2:  # a table that is not there has no folder and no options
        before, after = before or {}, after or {}
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            yield from differences(before.get(name), after.get(name), key=(*key, str(name)))
    elif before != after and not (in_data and not before and not after):
        yield Change(key, before, after)


def is_place(key: tuple[str, ...]) -> bool:
    """Return True for the folder of data or the model, whose contents decide."""
    return key in (("data_root",), ("model",)) or (key[0] == "data" and key[-1] == "root")


def obstacle(change: Change, work: Sequence[Work], *, complete: bool) -> Work | None:
    """Return the work that a changed setting would make wrong, or `None` if it may change.

    `complete`: all stages are done, so a setting of later evaluations would have no effect.
    """
    field, *rest = change.key
    if field in FREE or is_place(change.key):
        return None
    if field == "served" and rest[0] in _FREE_OF_SERVED:
        return None
    if field == "answering" and rest[:1] and rest[0] in _FREE_OF_ANSWERING:
        return None
    if field == "stages":
        return _obstacle_of_stage(int(rest[0]), tuple(rest[1:]), work)
    if field == "eval" and rest[0] in _LATER:
        return work[-1] if complete and work else None
    if change.key == ("eval", "base"):  # the first stage that trains begins with it
        return next((each for each in work if each.kind in ("sft", "grpo") and each.done), None)
    readers = _READERS.get(field, _EVERYTHING)
    if field == "tasks" and rest[-1] == "weight":
        readers = _EVERYTHING - {"eval"}
    if field == "tasks" and rest[-1] == "eval_split":
        readers = frozenset({"eval"})
    return next((each for each in work if each.kind in readers), None)


def _obstacle_of_stage(index: int, rest: tuple[str, ...], work: Sequence[Work]) -> Work | None:
    own = next((each for each in work if each.stage == index), None)
    if own is None or own.done:
        return own
    if rest[:1] and rest[0] in _FREE_OF_STAGE:
        return None
    if rest[:1] == ("trainer",) and len(rest) > 1 and rest[1] in _FREE_OF_TRAINER:
        return None
    return own
