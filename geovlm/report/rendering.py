"""Renders the templates of this room into pages that load nothing and run one script.

Model output, names and messages are hostile input. Everything is escaped except what is `Markup`.
Characters that cannot be seen or that reorder text are written as escapes. A
Content-Security-Policy forbids every request and every script but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

T = TypeVar("T")

LIMIT_BYTES = 5_000_000
"""Largest size of a page, up to several hundred tasks."""
LADDER = ((360, 60), (240, 60), (160, 40), (120, 12), (120, 0))
"""Longest side of a picture in pixels, and number of samples: the first that fits is taken."""
LEAD = 6
"""Number of samples on the first screen; the others are folded."""
_JOINERS = "\u200c\u200d"
"""Invisible, but parts of the spelling of Persian, Hindi and others."""
_CONTROL = ("Cc", "Cf", "Cs", "Cn")
"""Categories of Unicode: control, format (which holds the bidirectional marks), half of a surrogate
pair, unassigned."""


def render(template: str, **values: Any) -> str:
    """Return a page made from a template that extends `base.html.j2`.

    Args:
        template: File name in `templates`.
        values: What the template reads. `base.html.j2` reads `title` (text) and `contents`, the
            anchors and labels of the page's sections.
    """
    return _environment().get_template(template).render(**values)


def fitting(
    template: str, chosen: Sequence[T], *, draw: Callable[[T, int], Any], **values: Any
) -> str:
    """Return a page of samples that is at most `LIMIT_BYTES` long, as far as pictures make it so.

    Args:
        template: As for `render`; it also reads `cards`, `lead`, `picture_px` (the longest side of
            a picture, or `None` for the usual one) and `dropped`, the number of samples left out.
        chosen: Samples, the most telling first.
        draw: Makes the card of a sample with pictures of a longest side in pixels.
        values: What the template reads besides.
    """
    for longest_px, most in LADDER:
        cards = [draw(each, longest_px) for each in chosen[:most]]
        page = render(
            template,
            cards=cards,
            lead=LEAD,
            picture_px=longest_px if longest_px < LADDER[0][0] else None,
            dropped=len(chosen) - len(cards),
            **values,
        )
        if len(page.encode()) <= LIMIT_BYTES:
            break
    return page


def visible(value: Any) -> Any:
    r"""Return text with every invisible or reordering character as an escape such as `\u202e`.

    Line feeds, tabs and what is not plain text stay as they are.

    Example:
        >>> visible("a\u202eb\x00")
        'a\\u202eb\\x00'
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(map(_shown, value))


def _shown(character: str) -> str:
    if character in "\n\t" or character in _JOINERS:
        return character
    if unicodedata.category(character) not in _CONTROL:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("geovlm.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = resources.files("geovlm.report") / "templates"
    style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # curves have style attributes, hence 'unsafe-inline'; no style can fetch anything here
    made.globals.update(
        style=Markup(style),
        script=Markup(script),
        policy="default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )
    return made
