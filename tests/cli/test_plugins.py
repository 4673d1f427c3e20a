from __future__ import annotations

import json
from pathlib import Path

from tests.fake_plugins import REWARD, TOY, geovlm, install


def test_plugins_list_shows_status_and_reason(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    install(tmp_path, "bad", "import shapely_not_there")
    done = geovlm("plugins", "list", folder=tmp_path)
    assert done.returncode == 0
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines()}
    assert rows["builtin"][3] == "active"
    assert rows["toy"][1:4] == ["geovlm-toy", "0.1.0", "active"]
    assert rows["bad"][3] == "broken"
    assert rows["bad"][5] == "ModuleNotFoundError: No module named 'shapely_not_there'"


def test_plugins_list_as_json_names_the_hooks(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    rows = json.loads(geovlm("plugins", "list", "--json", folder=tmp_path).stdout)
    (toy,) = [row for row in rows if row["name"] == "toy"]
    assert toy["hooks"] == ["geovlm_datasets", "geovlm_rewards", "geovlm_tasks"]
    assert toy["status"] == "active"


def test_plugins_list_shows_a_disabled_plugin(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("plugins", "list", folder=tmp_path, GEOVLM_DISABLE_PLUGINS="toy")
    assert "toy\tgeovlm-toy\t0.1.0\tdisabled" in done.stdout


def test_doctor_prints_the_traceback_and_advice(tmp_path: Path) -> None:
    install(tmp_path, "bad", "import shapely_not_there")
    done = geovlm("plugins", "doctor", "bad", folder=tmp_path)
    assert done.returncode == 0
    assert "  Traceback (most recent call last):" in done.stdout
    assert "requires: geovlm>=0.1, installed: 0.1.0" in done.stdout
    assert "what to do: the fault is in the plugin" in done.stdout


def test_doctor_names_the_requirement_that_is_not_met(tmp_path: Path) -> None:
    install(tmp_path, "bad", "", requires=["geovlm>=3", "not-a-real-thing>=2"])
    done = geovlm("plugins", "doctor", "bad", folder=tmp_path)
    assert "requires: geovlm>=3, installed: 0.1.0 (not met)" in done.stdout
    assert "requires: not-a-real-thing>=2, installed: nothing (not met)" in done.stdout
    assert "what to do: pip install --upgrade geovlm-bad" in done.stdout


def test_doctor_of_a_healthy_plugin_says_so(tmp_path: Path) -> None:
    install(tmp_path, "fine", REWARD.format(name="fine"))
    done = geovlm("plugins", "doctor", "fine", folder=tmp_path)
    assert "what to do: nothing, it works" in done.stdout


def test_doctor_as_json_holds_the_traceback(tmp_path: Path) -> None:
    install(tmp_path, "bad", "import shapely_not_there")
    row = json.loads(geovlm("plugins", "doctor", "bad", "--json", folder=tmp_path).stdout)
    assert "shapely_not_there" in row["traceback"]
    assert row["requires"] == [{"requirement": "geovlm>=0.1", "installed": "0.1.0", "met": True}]


def test_doctor_of_an_unknown_plugin_guesses(tmp_path: Path) -> None:
    install(tmp_path, "toy", TOY)
    done = geovlm("plugins", "doctor", "toi", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown plugin 'toi'. Did you mean 'toy'?")
