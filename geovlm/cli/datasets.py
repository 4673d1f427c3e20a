"""Finds the folder of a data set and reads the data of tasks, for commands without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.cli import arguments, configuration, output
from geovlm.errors import ConfigError, DatasetNotFoundError

if TYPE_CHECKING:
    from geovlm.api import DatasetSpec, ModelProfile
    from geovlm.config.model import ModelFacts
    from geovlm.config.schema import RunConfig
    from geovlm.plan.data import Reader
    from geovlm.plugins.registry import Registry, Selected

MINIATURE_RECORDS = 16
"""Records per split of the generated data that is used without `--data`."""


class Located(NamedTuple):
    """The folder of one data set, and the configuration with its options."""

    root: Path
    config: RunConfig


def locate(
    spec: DatasetSpec,
    data: Sequence[str] | None,
    *,
    overrides: Sequence[str] = (),
    registry: Registry,
    model: str | None = None,
) -> Located:
    """Return the folder of a data set from `--data` and the configuration with `--set`.

    A folder that holds none of the spec's folders is the data set itself; without `--data`, a
    miniature is generated.

    Raises:
        ConfigError: a name or a key that does not exist.
        DatasetNotFoundError: the folder does not exist.
    """
    from geovlm.data.loading import find_root, sample_root
    from geovlm.plan.checks import check_data_names

    miniature = f"sample.records={MINIATURE_RECORDS}"
    given = arguments.settings(tasks=None, data=data, model=model)
    config = configuration.load(None, overrides=[miniature, *overrides], **given)
    check_data_names(config, registry=registry)
    given_for = config.data_folder(spec.name)
    root = given_for[1] if given_for else spec.root or config.data_root
    if root is None:
        output.say(f"generated data, not {spec.name} itself; give yours with --data DIR")
        sample = config.sample
        return Located(sample_root(spec, n=sample.records, seed=sample.seed), config)
    if not root.is_dir():
        raise DatasetNotFoundError(spec.name, root, hint="--data takes an existing folder")
    if spec.root is not None:
        return Located(root, config)
    if any((root / name).is_dir() for name in spec.folders):
        return Located(find_root(spec, data_root=root), config)
    if root == config.data_root and root.name not in spec.folders:
        output.say(
            f"{root} holds no {' or '.join(spec.folders)}: reading it as the data set itself"
        )
    return Located(root, config)


def facts(config: RunConfig, *, registry: Registry) -> ModelFacts:
    """Return the facts of the model that a run of this configuration would train.

    Raises:
        GeoVLMError: the model is a path that does not hold one, or of an unknown family.
    """
    from geovlm.config import model as models
    from geovlm.plan import sizes
    from geovlm.run import adapters

    whole = adapters.whole(config, merge=False)
    return sizes.bound(models.inspect(whole, registry=registry), whole)


def previewed(
    config: RunConfig,
    *,
    model: str | None,
    profile: str | None,
    pixels: str | None,
    registry: Registry,
) -> ModelProfile:
    """Return the profile of the previewed model: of the run's, else of any of a family.

    `pixels` is that of `geovlm.config.model.with_pixels`.

    Raises:
        ConfigError: both are given, or the files of the model are not on this machine.
    """
    from geovlm.config.model import framed, limited, with_pixels
    from geovlm.plan import sizes
    from geovlm.plugins.profiles import QWEN2_5_VL

    if profile is None and pixels is None:
        found = facts(config, registry=registry).profile
        if found is None:
            raise ConfigError(
                f"the files of model {config.model!r} are not on this machine",
                hint="give its family by --profile, such as qwen3_vl",
            )
        return found
    if model is not None:
        raise ConfigError("--model and --profile or --model-pixels are given", hint="omit one")
    family = registry.profile(profile or QWEN2_5_VL.model_types[0])
    if family.resize == "processor" and pixels is not None and Path(pixels).is_dir():
        return sizes.of_folder(framed(family, config), Path(pixels).absolute(), config)
    return limited(with_pixels(family, pixels), config)


def reader(
    tasks: str,
    *,
    data: Sequence[str] | None,
    overrides: Sequence[str],
    model: str | None = None,
    rewards: str | None = None,
) -> tuple[Reader, Sequence[Selected]]:
    """Return a reader of the tasks' data, and the tasks; without `data`, data is generated."""
    from geovlm.plan.checks import check_data_names
    from geovlm.plan.data import Reader
    from geovlm.plugins import registry
    from geovlm.run import adapters

    given = arguments.settings(tasks=tasks, data=data, model=model, rewards=rewards)
    config = adapters.whole(configuration.load(None, overrides=overrides, **given), merge=False)
    loaded = registry.load()
    chosen = loaded.select(tasks)
    check_data_names(config, registry=loaded)
    return Reader(config, loaded, facts(config, registry=loaded), None), chosen
