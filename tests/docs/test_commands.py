"""Executes every `$ geovlm …` line of the documents, each in a folder of its own.

- `run` and `eval` get `--dry-run`, eight generated records and the CPU, because they would train or
  answer for minutes. Plan, data, options and model are resolved all the same.
- Other commands that read generated data get few records.
- Lines that need GPUs, the Hugging Face hub, a finished run or minutes are checked for known
  options only; `NEEDS` has the reasons.
- All other lines run as they stand. Files that a reader of the line would have (`/data/…`,
  `sample/…`, `runs/first`, `….tif`) are made first: generated data in the official layout, a run
  that has begun, grey scenes.

Lines of the plugin tutorial need the package that it makes: tests/docs/test_lesson.py. Those of the
README of a package in `examples/` need its wheel: tests/test_third_party.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from geovlm import cli, nano
from geovlm.plugins import registry
from geovlm.plugins.references import resolve
from tests.cli.test_watch import folder as watched
from tests.predict.planted import write_scene
from tests.report.test_compare import DISASTER, RIGHT, a_run
from tests.report.test_page import begun
from tools.reference.commands import pages

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "plugins" / "tutorial.md"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(path for path in ROOT.glob("docs/**/*.md") if path != TUTORIAL),
]
LONG = {"run", "eval"}
READ = ({"plan"}, {"audit"}, {"data", "stats"}, {"data", "leaks"})
FEW = ("--set", "sample.records=16")
SHORT_CUTS = ("--dry-run", "--set", "sample.records=8", "--set", "device=cpu")
NEEDS = {
    "--gpus": "GPUs",
    "--track": "packages of trackers: tests/track",
    "geovlm-r1": "a model from the Hugging Face hub",
    "--base-url": "an endpoint: tests/engine/test_served.py",
    "serve": "vLLM: tests/vllm",
    "--generation": "vLLM: tests/vllm",
    "answering.generation=vllm": "vLLM: tests/vllm",
    "export": "a finished run: tests/engine/test_export.py",
    "doctor": "minutes: tests/cli/test_doctor.py",
}
"""Word of a line, or of the file it names -> requirement that a test does not have."""
PUBLISHED = {
    "rsvqa/lrben": '{"question": "Is there a road?", "answer": "yes", "annotation": "yes", '
    '"vqa_type": "presence"}\n',
    "": '{"question": "Where is <ref>1 van</ref>?", "answer": "[[7, 22, 14, 31, 0]]", '
    '"gt_bbox": "[[7, 22, 14, 31, 0]]", "task_type": "ref", "size_group": "small"}\n',
}
"""Protocol -> a line with the fields of EarthDial's file of answers; else one of GeoChat-Bench."""
OPTIONAL = {"options.tier3=true": ("train", "tier3")}
"""Option -> (part of the generated data, name of the part of real data that it stands for)."""


def shown(path: Path, prefix: str = r"\$ ") -> list[str]:
    """The lines of a document that call geovlm, without their comments."""
    text = path.read_text(encoding="utf-8")
    return [
        shlex.join(shlex.split(line, comments=True))
        for line in re.findall(rf"^{prefix}geovlm (.*)$", text, re.M)
    ]


def needs(line: str, *, files: Path = ROOT) -> str:
    """Requirements of a line that a test does not have; empty if it has all."""
    words = shlex.split(line)
    words += [word for name in words if name.endswith(".toml") for word in _words(files / name)]
    return ", ".join(reason for word, reason in NEEDS.items() if word in words)


def _words(path: Path) -> list[str]:
    return re.findall(r"[\w-]+", path.read_text(encoding="utf-8"))


LINES = list(dict.fromkeys(line for path in PAGES for line in shown(path)))
EXAMPLES = [line for path in sorted(ROOT.glob("examples/*.toml")) for line in shown(path, "#   ")]


def adapted(line: str, folder: Path) -> list[str]:
    """The words to execute: short cuts added, `/data` in the folder, data and runs made."""
    words = [re.sub(r"(^|=)/data\b", rf"\1{folder}/data", word) for word in shlex.split(line)]
    if words[0] in LONG:
        words += SHORT_CUTS
    if "--data" not in words and any(names <= set(words[:2]) for names in READ):
        words += FEW
    values = [words[at + 1] for at, word in enumerate(words) if word == "--data"]
    for value in values:
        make_data(words, value, folder)
    if words[0] == "report":
        make_runs(words, folder)
    if words[0] == "watch":
        watched(folder / words[1], state="done")
    if words[0] == "score":
        rows = PUBLISHED.get(words[-1], PUBLISHED[""])
        (folder / words[1]).write_text(2 * rows, encoding="utf-8")
    for word in words:
        if words[0] == "predict" and word.endswith(".tif") and not (folder / word).exists():
            write_scene(folder / word, (256, 256))
    if "--model" in words:
        make_model(folder / words[words.index("--model") + 1])
    return words


def make_data(words: list[str], value: str, folder: Path) -> None:
    """Generate what `--data VALUE` of a command is to find."""
    loaded = registry.load()
    prefix, sign, where = value.rpartition("=")
    if words[:2] == ["data", "check"]:
        prefix = words[2]
    root = folder / where
    if sign or prefix:
        known = [n for n in loaded.datasets if n == prefix or n.startswith(f"{prefix}/")]
        places = dict.fromkeys(known, root)
    else:
        named = words[words.index("--tasks") + 1] if "--tasks" in words else _named(words)
        chosen = loaded.select(named)
        names = {each.spec.dataset for each in chosen}
        places = {name: root / loaded.dataset(name).folders[0] for name in names}
    for name, place in places.items():
        if not place.exists():
            place.mkdir(parents=True)
            # the rates that an audit limits are steady from 16 images on
            resolve(loaded.dataset(name).make_sample)(place, 16 if words[0] == "audit" else 4, 0)
    for option, (part, copied) in OPTIONAL.items():
        if any(word.endswith(option) for word in words):
            shutil.copytree(root / part, root / copied)


def _named(words: list[str]) -> str:
    """The tasks of `audit TASKS` and `data leaks TASKS`."""
    return words[1] if words[0] == "audit" else words[2]


def make_runs(words: list[str], folder: Path) -> None:
    """Begin the run of a report, or finish the runs of a comparison."""
    named = [word for word in words if word.startswith("runs/")]
    if len(named) == 1:
        begun(folder / named[0])
        return
    for name in {word.partition(":")[0] for word in named}:
        a_run(folder / name, {stage: {DISASTER: [RIGHT]} for stage in ("base", "sft", "grpo")})


def make_model(folder: Path) -> None:
    """The built-in model where a run would have left its own."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(nano.path(), target_is_directory=True)


def status(words: list[str]) -> object:
    """Exit status of `geovlm …` in this process."""
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    return left.value.code


@pytest.mark.usefixtures("engine_here")
@pytest.mark.parametrize("line", [line for line in LINES if not needs(line)])
def test_a_line_of_a_document_works(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(adapted(line, tmp_path)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", [line for line in EXAMPLES if not needs(line)])
def test_a_line_of_an_example_works(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert status([*shlex.split(line), *SHORT_CUTS]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", [line for line in [*LINES, *EXAMPLES] if needs(line)])
def test_a_line_that_cannot_be_executed_here_has_known_options(line: str) -> None:
    words = shlex.split(line)
    known = {page.name: page for page in pages()}[f"geovlm {words[0]}"]
    options = {word for each in known.parameters for word in each.usage.split()}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_documents_have_lines_of_every_kind() -> None:
    assert {line.split()[0] for line in LINES} >= {"run", "eval", "report", "tasks", "data"}
    assert any(map(needs, LINES))
    assert EXAMPLES


def test_the_reward_of_the_page_is_what_the_page_states(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "rewards.md"
    (line,) = [each for each in shown(page) if each.startswith("rewards try")]
    assert status(shlex.split(line)) == 0
    assert "The last line prints 0.5" in page.read_text(encoding="utf-8")
    assert re.search(r"\b0\.5\b", capsys.readouterr().out)
