"""Shapes of public checkpoints: sizes and limits of images, no weights and no tokenizer.

`geovlm plan` reads them where the files of a checkpoint are not on this machine. A folder is named
as the checkpoint on the hub, with `--` for `/`. The hub's own files were not read; sources are:

| checkpoint | source |
|---|---|
| Qwen2.5-VL-3B-Instruct | copy of its `config.json` in sophgo/LLM-TPU, models/Qwen2_5_VL/config, 5e1c598 |
| Qwen2.5-VL-7B-Instruct | sizes of Nexus-GenV2, made of it, in modelscope/DiffSynth-Studio; the print of its modules in acproject/duorou, docs/qwen2.5vl_graph.md; the rest: defaults of transformers 5.23 |
| Qwen3-VL-4B-Instruct | copies of its `config.json` in public repositories |
| Qwen3-VL-8B-Instruct | copy of its `config.json` in NVIDIA/TensorRT-LLM, test of Qwen3-VL, with the 36 layers that it notes |
| Qwen3.5-4B | copies of its `config.json` in public repositories |
| GLM-4.1V-9B-Thinking | defaults of its class in transformers 5.23 |

Limits of images are those of `geovlm.plugins.profiles`.
"""  # noqa: E501
