"""Holds the sets of scenes: folders, numbers of images, file names, published questions.

Numbers and names of AID, WHU-RS19, PatternNet and RSI-CB256: the complete lists in
biasvariancelabs/aitlas-arena, splits/*.csv, b640d13. UC Merced: Yang & Newsam 2010. RESISC45: Cheng
et al. 2017. EuroSAT: Helber et al. 2019. Questions: hiyamdebary/EarthDial,
src/earthdial/eval/rs_classification/results/{AID,UCM,WHU_19}.jsonl, 92c1260.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

EARTHDIAL = (
    r"[hr_rgb_0.5]  <image> \n Classify the given image in one of the following classes. "
    r"Classes:  {}. \nAnswer in one word or a short phrase."
)
"""EarthDial's question about UC Merced and WHU-RS19; backslash and n are two characters there."""
EARTHDIAL_AID = "Classify the given image in one of the following classes. Classes: {}. "
"""EarthDial's question about AID: without tokens, with a blank at its end."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSet:
    """One set: a folder per class."""

    name: str
    """Name of data set and task."""
    counts: Mapping[str, int]
    """Folder of a class -> images of the official release."""
    classes: tuple[str, ...]
    """Names of the classes in questions and answers, in the order of the question."""
    file: str
    """Name of an official image without its ending; `{stem}` follows from the folder, `{n}` is its
    number."""
    first: int = 1
    """Number of the first image of a class."""
    stems: Mapping[str, str] = field(default_factory=dict)
    """Folder -> `{stem}`, where it does not follow from the folder."""
    squeezed: bool = False
    """True if `{stem}` is the folder without underscores."""
    regular: bool = True
    """True if the official names are exactly those that `file` makes."""
    suffixes: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
    """Endings of images, in lower case; the first one with pictures is that of the release."""
    published: str = ""
    """EarthDial's question, `{}` for the classes; empty: none is published."""
    shuffled: bool = False
    """True if the published question has the classes in another order for every image."""
    side_px: int = 256
    """Side of an official image, pixels."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the classes, as the official release spells them."""
        return tuple(self.counts)

    def official(self, folder: str) -> list[str]:
        """Return the official names of the images of a class, without ending."""
        return [self.stem(folder, self.first + i) for i in range(self.counts[folder])]

    def generated(self, folder: str) -> Iterator[str]:
        """Yield names like the official ones of a class, without end."""
        return (self.stem(folder, n) for n in count(self.first))

    def stem(self, folder: str, number: int) -> str:
        """Return the name of an image of a class, without ending."""
        plain = folder.replace("_", "") if self.squeezed else folder
        return self.file.format(stem=self.stems.get(folder, plain), n=number)


def key(name: str) -> str:
    """Return the form in which names of classes are compared: `Bare Land` is `BareLand`."""
    return _NO_WORD.sub("", name).lower()


def words(folder: str) -> str:
    """Return the name of a folder as words: `golf_course` and `GolfCourse` are `golf course`."""
    return " ".join(_NO_WORD.split(_CAMEL.sub(" ", folder))).lower()


def _counts(text: str) -> dict[str, int]:
    parts = text.split()
    return {name: int(number) for name, number in zip(parts[::2], parts[1::2], strict=True)}


def _each(number: int, text: str) -> dict[str, int]:
    return dict.fromkeys(text.split(), number)


_AID = _counts("""
    Airport 360 BareLand 310 BaseballField 220 Beach 400 Bridge 360 Center 260 Church 240
    Commercial 350 DenseResidential 410 Desert 300 Farmland 370 Forest 250 Industrial 390 Meadow 280
    MediumResidential 290 Mountain 340 Park 350 Parking 390 Playground 370 Pond 420 Port 380
    RailwayStation 260 Resort 290 River 410 School 300 SparseResidential 300 Square 330 Stadium 290
    StorageTanks 360 Viaduct 420
""")
_UCM = _each(
    100,
    """
    agricultural airplane baseballdiamond beach buildings chaparral denseresidential forest freeway
    golfcourse harbor intersection mediumresidential mobilehomepark overpass parkinglot river runway
    sparseresidential storagetanks tenniscourt
    """,
)
_WHU = _counts("""
    Airport 55 Beach 50 Bridge 52 Commercial 56 Desert 50 Farmland 50 Forest 53 Industrial 53
    Meadow 61 Mountain 50 Park 50 Parking 50 Pond 54 Port 53 Residential 54 River 56 Viaduct 58
    footballField 50 railwayStation 50
""")
_RESISC = _each(
    700,
    """
    airplane airport baseball_diamond basketball_court beach bridge chaparral church
    circular_farmland cloud commercial_area dense_residential desert forest freeway golf_course
    ground_track_field harbor industrial_area intersection island lake meadow medium_residential
    mobile_home_park mountain overpass palace parking_lot railway railway_station
    rectangular_farmland river roundabout runway sea_ice ship snowberg sparse_residential stadium
    storage_tank tennis_court terrace thermal_power_station wetland
    """,
)
_EUROSAT = _counts("""
    AnnualCrop 3000 Forest 3000 HerbaceousVegetation 3000 Highway 2500 Industrial 2500 Pasture 2000
    PermanentCrop 2500 Residential 3000 River 2500 SeaLake 3000
""")
_PATTERNNET = _each(
    800,
    """
    airplane baseball_field basketball_court beach bridge cemetery chaparral christmas_tree_farm
    closed_road coastal_mansion crosswalk dense_residential ferry_terminal football_field forest
    freeway golf_course harbor intersection mobile_home_park nursing_home oil_gas_field oil_well
    overpass parking_lot parking_space railway river runway runway_marking shipping_yard solar_panel
    sparse_residential storage_tank swimming_pool tennis_court transformer_station
    wastewater_treatment_plant
    """,
)
_RSI_CB = _counts("""
    airplane 351 airport_runway 678 artificial_grassland 283 avenue 544 bare_land 864 bridge 469
    city_building 1014 coastline 459 container 660 crossroads 553 dam 324 desert 1092 dry_farm 1309
    forest 1082 green_farmland 644 highway 223 hirst 628 lakeshore 438 mangrove 1049 marina 366
    mountain 812 parkinglot 467 pipeline 198 residents 810 river 539 river_protection_forest 524
    sandbeach 536 sapling 879 sea 1028 shrubwood 1331 snow_mountain 1153 sparse_forest 1110
    storage_room 1307 stream 688 town 335
""")
_ORDER_AID = (
    "Medium Residential, Storage Tanks, Beach, Sparse Residential, Square, Pond, River, "
    "Commercial, Bare Land, Desert, Airport, Bridge, Dense Residential, Forest, Viaduct, Church, "
    "Farmland, School, Center, Park, Baseball Field, Meadow, Industrial, Stadium, Parking, "
    "Railway Station, Port, Mountain, Playground, Resort"
)
_ORDER_WHU = (
    "mountain, port, river, pond, railwaystation, parking, bridge, footballfield, farmland, park, "
    "viaduct, desert, beach, commercial, industrial, forest, residential, meadow, airport"
)

AID = SceneSet(
    name="scenes/aid",
    counts=_AID,
    classes=tuple(_ORDER_AID.split(", ")),
    file="{stem}_{n}",
    stems={folder: folder.lower() for folder in _AID},
    published=EARTHDIAL_AID,
    side_px=600,
)
UCM = SceneSet(
    name="scenes/ucm",
    counts=_UCM,
    classes=tuple(_UCM),
    file="{stem}{n:02d}",
    first=0,
    suffixes=(".tif", ".tiff", ".jpg", ".jpeg", ".png", ".bmp", ".webp"),
    published=EARTHDIAL,
    shuffled=True,
)
WHU = SceneSet(
    name="scenes/whu_rs19",
    counts=_WHU,
    classes=tuple(_ORDER_WHU.split(", ")),
    file="{stem}_{n:02d}",
    # irregular: beach-01, Farmland-01, industrial_7 beside industrial_10
    stems={folder: folder.lower() for folder in _WHU}
    | {name: name for name in ("Desert", "Mountain", "Park", "footballField", "railwayStation")},
    regular=False,
    published=EARTHDIAL,
    side_px=600,
)
RESISC45 = SceneSet(
    name="scenes/resisc45",
    counts=_RESISC,
    classes=tuple(map(words, _RESISC)),
    file="{stem}_{n:03d}",
)
EUROSAT = SceneSet(
    name="scenes/eurosat",
    counts=_EUROSAT,
    classes=tuple(map(words, _EUROSAT)),
    file="{stem}_{n}",
    suffixes=(".jpg", ".jpeg", ".png", ".bmp", ".webp"),  # the TIFFs hold 13 bands
    side_px=64,
)
EUROSAT_MS = SceneSet(
    name="scenes/eurosat_ms",
    counts=_EUROSAT,
    classes=tuple(map(words, _EUROSAT)),
    file="{stem}_{n}",
    suffixes=(".tif", ".tiff"),
    side_px=64,
)
PATTERNNET = SceneSet(
    name="scenes/patternnet",
    counts=_PATTERNNET,
    classes=tuple(map(words, _PATTERNNET)),
    file="{stem}{n:03d}",
    stems={"wastewater_treatment_plant": "wastewaterplant"},
    squeezed=True,
)
RSI_CB256 = SceneSet(
    name="scenes/rsi_cb256",
    counts=_RSI_CB,
    classes=tuple(map(words, _RSI_CB)),
    file="{stem}({n})",
    # "protetion" is official
    stems={"river_protection_forest": "river_protetion_forest", "sandbeach": "sand_beach"},
    suffixes=(".tif", ".tiff", ".jpg", ".jpeg", ".png", ".bmp", ".webp"),
)
ALL: tuple[SceneSet, ...] = (
    AID,
    UCM,
    WHU,
    RESISC45,
    EUROSAT,
    EUROSAT_MS,
    PATTERNNET,
    RSI_CB256,
)
"""All sets, in the order in which they are declared."""
