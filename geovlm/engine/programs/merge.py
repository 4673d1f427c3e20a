"""Merges LoRA adapters into their base model and writes the whole model.

`python -m geovlm.engine.programs.merge --adapters DIR --base DIR --out DIR`. `geovlm.run.adapters`
starts it. Tokenizer, processor and templates are copied from the base.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from peft import PeftConfig, PeftModel, PeftType
from transformers import AutoModelForImageTextToText

from geovlm.engine.models import structure
from geovlm.engine.programs.main import run
from geovlm.errors import ConfigError

_WEIGHTS = frozenset({".safetensors", ".bin", ".gguf", ".pt", ".pth"})


def main(argv: list[str] | None = None) -> int:
    """Merge and write; returns the exit status."""
    return run(
        lambda args: merge(Path(args.adapters), base=Path(args.base), out=Path(args.out)),
        *("--adapters", "--base", "--out"),
        argv=argv,
    )


def merge(adapters: Path, *, base: Path, out: Path) -> None:
    """Write the base model with the adapters merged into its weights, in the base's precision.

    Raises:
        ConfigError: the adapters are of another kind than LoRA, or do not fit: a layer that they
            adapt has no weights among them, or they have weights for a layer that the base lacks.
    """
    settings = PeftConfig.from_pretrained(str(adapters))
    if settings.peft_type != PeftType.LORA:
        kind = PeftType(settings.peft_type).value
        raise ConfigError(
            f"{adapters} holds adapters of kind {kind}, which are not merged",
            hint="merge them with peft, and give the folder of the whole model",
        )
    model = AutoModelForImageTextToText.from_pretrained(base, dtype="auto")
    try:
        adapted = PeftModel(model, settings)  # type: ignore[no-untyped-call]
        found = adapted.load_adapter(str(adapters), "default", is_trainable=False)
    except (RuntimeError, ValueError, KeyError) as error:  # peft names layers or shapes
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"the adapters in {adapters} do not fit {base}: {reason}",
            hint="give the base model on which they were trained in adapter_config.json",
        ) from error
    without = [name for name in found.missing_keys if "lora_" in name]
    for names, what in (
        (without, "layers of the base have no weights among them"),
        (found.unexpected_keys, "weights belong to no layer of the base"),
    ):
        if names:
            raise ConfigError(
                f"the adapters in {adapters} do not fit {base}: {len(names)} {what}, first "
                f"{names[0]}",
                hint="give the base model on which they were trained in adapter_config.json",
            )
    structure.drop_router_logits(model)
    whole = adapted.merge_and_unload()  # type: ignore[operator]  # of the tuner
    out.mkdir(parents=True)
    for path in base.iterdir():
        is_index = path.name.endswith(".index.json")
        if path.is_file() and path.suffix not in _WEIGHTS and not is_index:
            shutil.copyfile(path, out / path.name)
    whole.save_pretrained(out)


if __name__ == "__main__":
    sys.exit(main())
