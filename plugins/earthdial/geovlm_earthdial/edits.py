r"""Edits stored questions as EarthDial's evaluation does before it asks them.

Its scripts replace the beginning of some questions and append a sentence to others, set by set.
Which set a question is of follows from its text here, since names of folders differ from copy to
copy. Some stored texts are in double quotes; the scripts take quotes off after these edits, so that
one stays before the appended sentence. A literal backslash and `n` stays where the scripts keep it.

Source: hiyamdebary/EarthDial, src/earthdial/eval/*/*_test.py, 92c1260.
"""

from __future__ import annotations

IMAGE = "<image>"
"""Mark of an image in a question; the chat template of the model puts images in."""
VQA_SUFFIX = " Answer the question using a single word."
XBD_SUFFIX = "Answer in single word."
_DETAIL = (
    "Describe the image in detail. Detect objects location. Describe objects size. Where objects "
    "are located?. Describe relation between objects."
)
_REPLACED: dict[str, tuple[tuple[str, str], ...]] = {
    "refer": (
        (
            "[refer] [hr_rgb_0.5] <image> \\n Give me the location of",
            "[refer] [hr_rgb_0.5] <image> \n Give me the location of ",
        ),
        (
            " [refer] [hr_rgb_0.5] <image> \\n ",
            "[refer] [hr_rgb_0.5] <image> \n Give me the location of ",
        ),
        (
            " [refer] [s1_vh_1] <image> \\n ",
            "[refer] [s1_vh_1] <image> \n Give me the location of ",
        ),
    ),
    "ground": tuple(
        (
            f" [grounding] {sensor} <image> \\n Describe the image.",
            f"[grounding] {sensor} <image> \n {_DETAIL}",
        )
        for sensor in ("[hr_rgb_0.5]", "[Inf_thermal_1]")
    ),
}
"""Kind -> stored text and its replacement; the first that is there applies."""
_XBD = (
    "Are there any buildings affected due to disaster? Please answer yes or no.",
    "How many building are affected? Please answer none, one, two or many.",
    "classify the level of damage. Classes: no-damage, destroyed, minor-damage, major-damage.",
    "affected due to disaster in the second image? Please answer yes or no.",
)
"""Ends of the questions of xBD to which the script appends a sentence."""


def edited(question: str, *, kind: str) -> str:
    """Return a stored question as EarthDial asks it, `<image>` included.

    A question that is edited already stays as it is.
    """
    for stored, asked in _REPLACED.get(kind, ()):
        if stored in question:
            question = question.replace(stored, asked)
            break
    if kind == "vqa" and not question.rstrip('"').endswith(VQA_SUFFIX):
        question += VQA_SUFFIX
    if kind == "series" and question.rstrip('"').endswith(_XBD):
        question += XBD_SUFFIX
    return question.strip('"')


def answer(stored: str) -> str:
    """Return a stored answer as EarthDial compares it, without quotes around it."""
    return stored.strip('"')
