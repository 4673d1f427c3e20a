from __future__ import annotations

import re

from geovlm.testing.kit import RULES
from tests.conforming_plugin import METADATA, changed

LIGHT = next(rule for rule in RULES if rule.name == "light_import")


def test_a_conforming_plugin_breaks_no_rule(broken) -> None:
    assert broken() == {}


def test_a_plugin_that_does_not_load_breaks_one_rule(broken) -> None:
    found = broken(changed('name="toy/find"', 'name="foe/find"'))
    assert list(found) == ["loads"]
    assert "(geovlm-toy 0.1.0) is broken" in found["loads"][0]
    assert "'foe/find' must be 'toy' or begin with 'toy/'" in found["loads"][0]


def test_a_light_plugin_loads_nothing_heavy(toy) -> None:
    assert toy().outcome(LIGHT).result == "ok"


def test_a_heavy_import_is_named(toy) -> None:
    outcome = toy(changed("import random\n", "import random\nimport numpy\n")).outcome(LIGHT)
    assert outcome.line().startswith("loading plugin 'toy' imports numpy: name functions as ")
    assert outcome.faults[0].file.endswith("toy_plugin.py")


def test_a_plugin_that_ends_the_process_is_named(toy) -> None:
    leave = "import os, sys\nif 'pytest' not in sys.modules:\n    os._exit(3)\nimport random\n"
    outcome = toy(changed("import random\n", leave)).outcome(LIGHT)
    assert outcome.line().startswith("plugin 'toy' ends the process that loads it: no message")


def test_a_slow_import_is_a_remark(toy) -> None:
    outcome = toy(changed("import random\n", "import random, time\ntime.sleep(0.11)\n")).outcome(
        LIGHT
    )
    assert outcome.result == "ok"
    assert re.fullmatch(r"importing plugin 'toy' takes \d{3,} ms", outcome.line())


def test_an_empty_field_of_a_declaration_is_named(broken) -> None:
    assert broken(changed('citation="Nobody 2026"', 'citation=""')) == {
        "complete_metadata": ["data set 'toy' has no citation"]
    }


def test_a_package_without_readme_is_named(broken) -> None:
    assert broken(metadata=METADATA.partition("\n\n")[0] + "\n") == {
        "complete_metadata": ["distribution 'geovlm-toy' states no readme"]
    }


def test_a_command_without_the_plugins_name_is_named(broken) -> None:
    assert broken(changed('"toy-info"', '"info"')) == {
        "prefixed_names": ["command 'info' does not begin with the plugin's name 'toy'"]
    }


def test_a_reference_to_nothing_is_named(broken) -> None:
    assert broken(changed("prompt=find", 'prompt="toy_plugin:fined"')) == {
        "references_resolve": [
            "task 'toy/find': prompt: reference 'toy_plugin:fined' points to nothing: toy_plugin "
            "has no 'fined'"
        ]
    }


def test_a_reference_to_something_that_is_not_callable_is_named(broken) -> None:
    assert broken(changed("prompt=find", 'prompt="toy_plugin:CLASSES"')) == {
        "references_resolve": ["task 'toy/find': prompt: 'toy_plugin:CLASSES' is not callable"]
    }


def test_a_task_that_names_an_unknown_metric_is_named(broken) -> None:
    assert broken(changed('metrics=("detection",)', 'metrics=("detektion",)')) == {
        "references_resolve": [
            "task 'toy/find' is unusable: it needs metric 'detektion': no plugin provides it"
        ]
    }


def test_a_requirement_without_upper_end_is_named(broken) -> None:
    assert broken(requires=["geovlm>=0.1"]) == {
        "version_range": [
            "distribution 'geovlm-toy' requires geovlm>=0.1: state the first version that works "
            "and the first that may not, as in geovlm>=0.1,<0.2"
        ]
    }


def test_a_compatible_release_is_a_range(broken) -> None:
    assert broken(requires=["geovlm~=0.1.0"]) == {}


def test_an_option_without_docstring_is_named(broken) -> None:
    assert broken(changed('    """Whether colours are bright."""\n', "")) == {
        "options_documented": ["option 'bright' of ToyOptions has no docstring below it"]
    }
