"""Builds generated rows of GEOBench-VLM, XLRS-Bench-lite and VRSBench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import scenes
from geovlm_exams import questions, xlrs

if TYPE_CHECKING:
    import numpy as np


def xlrs_questions(
    scene: scenes.Scene, rng: np.random.Generator, *, at: int
) -> list[tuple[str, str, list[str], list[int]]]:
    """Return category, question, choices and the places of the right ones, of two questions."""
    covers = sorted({name for name, _ in scene.covers})
    absent = [each for each in scenes.COVERS if each not in covers]
    chosen = [*covers[:3], *(absent[i] for i in rng.permutation(len(absent)))][:4]
    order = [chosen[i] for i in rng.permutation(4)]
    right = [place for place, name in enumerate(order) if name in covers]
    made = [(xlrs.SEVERAL, "Which kinds of land use does the image show?", order, right)]
    counting = questions.about(scene, rng)[0]
    choices, place = questions.arranged(counting, rng, at=at)
    made.append(("Counting/Overall counting", counting.text, choices, [place]))
    return made


def vrsbench_vqa(scene: scenes.Scene, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the questions of `VRSBench_EVAL_vqa.json` about a scene, without its image."""
    kinds = {
        "object_counting": "object quantity",
        "object_presence": "object existence",
        "scene_classification": "scene type",
        "object_localization": "object position",
        "attribute_recognition": "object color",
    }
    return [
        {"question": each.text, "ground_truth": each.right, "type": kinds[each.kind]}
        for each in questions.about(scene, rng)
    ]


def vrsbench_refs(scene: scenes.Scene) -> list[dict[str, Any]]:
    """Return the sentences of `VRSBench_EVAL_referring.json`, one per object."""
    made = []
    for item in scene.items:
        unique = sum(each.kind == item.kind for each in scene.items) == 1
        shares = [float(v) / scene.size_px[0] for v in item.box]
        box = "".join(f"<{int(share * 100)}>" for share in shares)
        place = questions.place_of(item.box, scene.size_px).lower()
        x0, y0, x1, y1 = shares
        made.append(
            {
                "question": f"The {item.colour} {item.kind} at the {place} of the image.",
                "ground_truth": f"{{{box}}}",
                "type": "ref",
                "unique": unique,
                "obj_corner": [x0, y0, x1, y0, x1, y1, x0, y1],
                "obj_cls": item.kind.replace(" ", "-"),
                "obj_ids": [0],
                "size_group": "",
            }
        )
    return made


def described(scene: scenes.Scene) -> str:
    """Return a description of a scene in a few sentences."""
    covers = " and ".join(dict.fromkeys(name for name, _ in scene.covers))
    parts = [f"The generated image shows {covers}."]
    for item in scene.items:
        place = questions.place_of(item.box, scene.size_px).lower()
        parts.append(f"A {item.colour} {item.kind} is at the {place}.")
    parts.append("A road crosses it." if scene.road else "There is no road.")
    return " ".join(parts)


def exchange(part: str, name: str, row: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a row of a file of truths as one of `VRSBench_train.json`."""
    asked = {
        "vqa": f"[vqa] {row['question']}",
        "referring": f"[refer] give me the location of <p>{row['question']}</p>",
        "Cap": f"[caption] {row['question']}",
    }[part]
    turns = [
        {"from": "human", "value": f"<image>\n{asked}"},
        {"from": "gpt", "value": row["ground_truth"]},
    ]
    return {"id": str(number), "image": name, "conversations": turns}


def geobench_row(
    question: questions.Question,
    choices: list[str],
    at: int,
    path: str,
    number: int,
) -> dict[str, Any]:
    """Return a row of `qa.json`; `at` is the place of the right choice."""
    listed = [f"{letter}. {text}" for letter, text in zip("ABCDE", choices, strict=False)]
    return {
        "image_path": path,
        "ground_truth": choices[at],
        "ground_truth_option": "ABCDE"[at],
        "options_list": choices,
        "options": "  ".join(listed),
        "prompts": [question.text, f"Look at the image. {question.text}"],
        "task": question.kind,
        "image_name": Path(path).name,
        "question_id": number,
        "cls_description": "",
    }
