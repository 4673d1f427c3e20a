"""METEOR by NLTK, on a WordNet of one pair of synonyms in the official file format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nltk
import pytest
from nltk.corpus import wordnet
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from geovlm.score.protocols.text import meteor

_FILES = ("cntlist.rev", "index.sense", *(f"{pos}.exc" for pos in ("adj", "adv", "noun", "verb")))


@pytest.fixture
def synonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WordNet knows that a car is an auto, and nothing else."""
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for name in _FILES:
        (folder / name).write_text("")
    (folder / "lexnames").write_text("00\tnoun.artifact\t1\n")
    for pos in ("adj", "adv", "noun", "verb"):
        (folder / f"data.{pos}").write_text("  1 WordNet 3.0 Copyright\n")
        (folder / f"index.{pos}").write_text("")
    header = "  1 WordNet 3.0 Copyright\n"
    synset = f"{len(header):08d} 00 n 02 auto 0 car 0 000 | drives  \n"
    (folder / "data.noun").write_text(header + synset)
    lines = (f"{word} n 1 0 1 0 {len(header):08d}  \n" for word in ("auto", "car"))
    (folder / "index.noun").write_text("".join(lines))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])  # NLTK reads from nowhere else
    with pytest.warns(UserWarning, match="multilingual"):
        reader = WordNetCorpusReader(nltk.data.FileSystemPathPointer(str(folder)), None)
    known = meteor._Synonyms(reader)
    monkeypatch.setattr(meteor, "_synonyms", lambda: known)


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor, "_synonyms", lambda: None)


# NLTK looks up stems, not words: "airplane" becomes "airplan" and finds no synonym.
# three words match in one chunk: precision = recall = 1, penalty 0.5 * (1 / 3) ** 3
_THREE_IN_ONE = 1 - 0.5 / 27


def test_synonyms_count_as_equal(synonyms) -> None:
    assert meteor.best(["a white auto"], "a white car") == pytest.approx(_THREE_IN_ONE)


def test_the_best_reference_counts(synonyms) -> None:
    truths = ["nothing here", "a white car"]
    assert meteor.best(truths, "a white car") == pytest.approx(_THREE_IN_ONE)


def test_region_captions_have_a_published_meteor(score, synonyms) -> None:
    row = {"answer": "a white car", "annotation": "a white auto", "size_group": "small"}
    other = row | {"answer": "two red ships"}
    made = score("earthdial/region_caption", row, other)
    assert made.published["meteor"] == pytest.approx(_THREE_IN_ONE / 2)
    assert made.counts["meteor"] == 2
    assert "meteor" in made.ci95["published"]


def test_change_captions_name_whose_meteor_it_is(score, synonyms) -> None:
    row = {"answer": "a white car", "caption0": "a white auto"}
    made = score("change_caption", row)
    assert made.published["meteor_nltk"] == pytest.approx(_THREE_IN_ONE)
    assert made.published["change/meteor_nltk"] == pytest.approx(_THREE_IN_ONE)


@pytest.mark.parametrize(
    ("protocol", "name"), [("earthdial/caption", "meteor"), ("change_caption", "meteor_nltk")]
)
def test_without_wordnet_the_score_is_left_out_with_the_reason(
    score, nothing, protocol, name
) -> None:
    made = score(protocol, {"answer": "a car", "caption0": "an auto"})
    assert name not in made.published
    assert name not in made.counts
    assert "nltk.downloader wordnet" in made.left_out[name]


def test_score_says_what_is_left_out(write) -> None:
    path = write({"answer": "a car", "caption0": "an auto"})
    code = (
        "import nltk; nltk.data.path[:] = []\n"
        f"from geovlm.cli import main; main(['score', {str(path)!r}, "
        "'--protocol', 'earthdial/caption'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "meteor is omitted: it needs NLTK's WordNet" in done.stdout + done.stderr


@pytest.mark.skipif(not meteor.present(), reason="NLTK's WordNet is not installed")
def test_the_example_of_nltks_own_documentation() -> None:
    said = "It is a guide to action which ensures that the military always obeys the commands of "
    said += "the party"
    true = "It is a guide to action that ensures that the military will forever heed Party commands"
    assert wordnet.synsets("guide")
    assert meteor.best([true], said) == pytest.approx(0.6944, abs=5e-5)
