"""Holds the ten classes of EuroSAT and three groups of them; the groups are ours."""

from __future__ import annotations

import re

GROUPS = {
    "vegetation": ("AnnualCrop", "Forest", "HerbaceousVegetation", "Pasture", "PermanentCrop"),
    "built land": ("Highway", "Industrial", "Residential"),
    "water": ("River", "SeaLake"),
}
FOLDERS = sorted(folder for folders in GROUPS.values() for folder in folders)
"""Names of the folders in the data set."""
LABELS = {folder: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower() for folder in FOLDERS}
"""Folder -> the class in answers: `SeaLake` is `sea lake`."""
GROUP = {LABELS[folder]: group for group, folders in GROUPS.items() for folder in folders}
"""The class in answers -> its group."""
