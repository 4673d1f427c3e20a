"""Shapes of public checkpoints: sizes and limits of images, no weights and no tokenizer.

`geovlm plan` reads them where the files of a checkpoint are not on this machine. A folder is named
as the checkpoint on the hub, with `--` for `/`. `SOURCES.md` names the source of each.
"""
