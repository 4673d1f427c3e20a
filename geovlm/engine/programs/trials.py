"""Tries what a run would meet later: the rows of its tasks by `preflight`, stages by `trainers`.

`python -m geovlm.engine.programs.trials --request FILE` reads `{"preflight": …, "trainers": …}`,
each a request of that program or left out, and writes `found.json` beside the file, a list of
problems for each. One process does both: its imports take most of the time.
`geovlm.plan.trials.process` starts it. With `{"pictures": FOLDER or null}` it also writes
`shown.json`, the rows of the preflight as `geovlm doctor --model` shows them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm.engine.programs import preflight, shown, trainers
from geovlm.engine.programs.main import run
from geovlm.errors import GeoVLMError
from geovlm.run import files


def main(argv: list[str] | None = None) -> int:
    """Try what a request names; returns the exit status, 0 with problems too."""
    return run(lambda args: work(Path(args.request)), "--request", argv=argv)


def work(request: Path) -> None:
    """Try what a request names, and write the problems."""
    given: Mapping[str, Any] = files.read_json(request)
    found: dict[str, list[str]] = {}
    if "preflight" in given:
        asked = preflight.Request(**given["preflight"])
        try:
            looked = preflight.look(asked, folder=request.parent)
        except GeoVLMError as error:
            found["preflight"] = [str(error)]
        else:
            found["preflight"] = list(looked.problems)
            if "pictures" in given:
                folder = given["pictures"]
                rows = shown.table(looked, pictures=Path(folder) if folder is not None else None)
                files.write_json(request.with_name("shown.json"), rows)
    if "trainers" in given:
        problems = trainers.problems(trainers.Request(**given["trainers"]))
        found["trainers"] = list(dict.fromkeys(problems))  # stages may share a problem
    files.write_json(request.with_name("found.json"), found)


if __name__ == "__main__":
    sys.exit(main())
