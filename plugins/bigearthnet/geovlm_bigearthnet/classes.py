"""Holds the 43 classes of v1 (CORINE level 3), the 19 of v2, and the five families of level 1.

Names and mapping: `OLD2NEW_LABELS_DICT` of kai-tub/bigearthnet_common,
src/bigearthnet_common/constants.py. Eleven of the 43 have no successor. Order: CORINE codes.
"""

from __future__ import annotations

_AGRICULTURE = (
    "Land principally occupied by agriculture, with significant areas of natural vegetation"
)
_GRASS = "Natural grassland and sparsely vegetated areas"
_MOORS = "Moors, heathland and sclerophyllous vegetation"

_TABLE: dict[str, tuple[tuple[str, str | None], ...]] = {
    "artificial surfaces": (
        ("Continuous urban fabric", "Urban fabric"),
        ("Discontinuous urban fabric", "Urban fabric"),
        ("Industrial or commercial units", "Industrial or commercial units"),
        ("Road and rail networks and associated land", None),
        ("Port areas", None),
        ("Airports", None),
        ("Mineral extraction sites", None),
        ("Dump sites", None),
        ("Construction sites", None),
        ("Green urban areas", None),
        ("Sport and leisure facilities", None),
    ),
    "agricultural areas": (
        ("Non-irrigated arable land", "Arable land"),
        ("Permanently irrigated land", "Arable land"),
        ("Rice fields", "Arable land"),
        ("Vineyards", "Permanent crops"),
        ("Fruit trees and berry plantations", "Permanent crops"),
        ("Olive groves", "Permanent crops"),
        ("Pastures", "Pastures"),
        ("Annual crops associated with permanent crops", "Permanent crops"),
        ("Complex cultivation patterns", "Complex cultivation patterns"),
        (_AGRICULTURE, _AGRICULTURE),
        ("Agro-forestry areas", "Agro-forestry areas"),
    ),
    "forest and seminatural areas": (
        ("Broad-leaved forest", "Broad-leaved forest"),
        ("Coniferous forest", "Coniferous forest"),
        ("Mixed forest", "Mixed forest"),
        ("Natural grassland", _GRASS),
        ("Moors and heathland", _MOORS),
        ("Sclerophyllous vegetation", _MOORS),
        ("Transitional woodland/shrub", "Transitional woodland, shrub"),
        ("Beaches, dunes, sands", "Beaches, dunes, sands"),
        ("Bare rock", None),
        ("Sparsely vegetated areas", _GRASS),
        ("Burnt areas", None),
    ),
    "wetlands": (
        ("Inland marshes", "Inland wetlands"),
        ("Peatbogs", "Inland wetlands"),
        ("Salt marshes", "Coastal wetlands"),
        ("Salines", "Coastal wetlands"),
        ("Intertidal flats", None),
    ),
    "water bodies": (
        ("Water courses", "Inland waters"),
        ("Water bodies", "Inland waters"),
        ("Coastal lagoons", "Marine waters"),
        ("Estuaries", "Marine waters"),
        ("Sea and ocean", "Marine waters"),
    ),
}

FAMILIES: tuple[str, ...] = tuple(_TABLE)
"""CORINE level 1."""
TO_19: dict[str, str | None] = {old: new for rows in _TABLE.values() for old, new in rows}
"""43-class name -> 19-class name; `None` if the class was dropped."""
CLASSES_43: tuple[str, ...] = tuple(TO_19)
CLASSES_19: tuple[str, ...] = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    _AGRICULTURE,
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    _GRASS,
    _MOORS,
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)
FAMILY_OF: dict[str, str] = {
    name: family
    for family, rows in _TABLE.items()
    for pair in rows
    for name in pair
    if name is not None
}
"""Class name, of the 43 or the 19 -> its family."""
