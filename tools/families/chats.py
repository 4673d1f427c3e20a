"""Chat templates: those of the hub as TRL carries them, and two written to render alike."""

from __future__ import annotations

from pathlib import Path

INTERNVL = (
    "{%- macro parts(said) -%}{%- if said is string -%}{{ said }}{%- else -%}"
    "{%- for part in said -%}"
    "{%- if part.type == 'image' -%}{{ '<IMG_CONTEXT>\n' }}"
    "{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endmacro -%}"
    "{%- for turn in messages -%}"
    "{{ '<|im_start|>' ~ turn.role ~ '\n' ~ parts(turn.content) ~ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""ChatML with InternVL's placeholder before its text."""
LLAVA_ONEVISION = (
    "{%- for turn in messages -%}{{ '<|im_start|>' ~ turn.role ~ ' ' }}"
    "{%- for part in turn.content if part.type == 'image' -%}{{ '<image>' }}{%- endfor -%}"
    "{%- for part in turn.content if part.type == 'text' -%}{{ '\n' ~ part.text }}{%- endfor -%}"
    "{{ '<|im_end|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""All images of a turn before its text, and a blank behind the role."""
GLM4V = (
    "{{- '[gMASK]<sop>' -}}{%- for turn in messages -%}{%- if turn.role == 'assistant' -%}"
    "{{ '<|assistant|>\n' ~ turn.content }}"
    "{%- elif turn.role == 'system' -%}{{ '<|system|>\n' ~ turn.content }}"
    "{%- else -%}{{ '<|user|>\n' }}"
    "{%- if turn.content is string -%}{{ turn.content }}{%- else -%}"
    "{%- for part in turn.content -%}"
    "{%- if part.type == 'image' -%}{{ '<|begin_of_image|><|image|><|end_of_image|>' }}"
    "{%- elif part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\n' }}{%- endif -%}"
)
"""As GLM-4.1V's, it prints the content of an assistant's turn as it is, lists of parts too."""


def trl(name: str) -> str:
    """Return a template of the hub from TRL's folder `chat_templates`."""
    import trl as package

    folder = Path(package.__file__).parent / "chat_templates"
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


def glm4v_moe() -> str:
    """Return GLM-4.5V's: that of GLM-4.5, whose macro of visible text also writes images."""
    strings = "            {%- elif item is string -%}\n                {{- item }}"
    images = (
        "            {%- elif item is mapping and (item.type == 'image' or 'image' in item) -%}\n"
        "<|begin_of_image|><|image|><|end_of_image|>\n"
    )
    return _replaced(trl("glm4moe"), strings, images + strings)


def minicpm() -> str:
    """Return MiniCPM-V 4.6's: Qwen3.5's with another placeholder."""
    return _replaced(
        trl("qwen3_5_nothink"), "<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>\\n"
    )


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"TRL's template has changed: it lacks {old!r}"
    return text.replace(old, new)
