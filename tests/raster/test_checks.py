"""Wrong band names and wrong scales are found; scenes without evidence pass."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster.checks import Suspicion, require_plausible, suspicions

NAMES = ("B02", "B03", "B04", "B08", "B8A", "B11", "B12")
SPECTRA = {
    "forest": (180, 380, 220, 3000, 3200, 1400, 600),
    "grass": (350, 800, 400, 4300, 4500, 2100, 1000),
    "soil": (900, 1300, 1700, 2300, 2500, 3200, 2700),
    "turbid water": (900, 1500, 1400, 500, 350, 60, 40),
    "sea": (350, 200, 90, 40, 30, 15, 10),
    "shallow lagoon": (2400, 2600, 1300, 150, 60, 20, 15),
    "sand": (1800, 2600, 3400, 4100, 4300, 5400, 4900),
    "cloud": (7600, 7500, 7600, 7900, 7900, 5200, 4200),
    "snow": (9300, 9100, 8900, 8000, 7600, 800, 700),
    "burnt": (300, 380, 450, 800, 900, 1900, 2100),
    "concrete": (1700, 1900, 2100, 2400, 2500, 2600, 2400),
}
"""Surface reflectances x 10,000 that are typical of each, in the order of `NAMES`."""


def scene(*covers: str, side: int = 60) -> np.ndarray:
    """Stripes of covers whose brightness varies by 15 %, all bands together: (C, H, W) uint16."""
    rng = np.random.default_rng(0)
    which = np.arange(side) * len(covers) // side
    spectra = np.array([SPECTRA[cover] for cover in covers], float)[which]
    brightness = rng.normal(1, 0.15, (side, side)).clip(0.5, 1.6)
    noise = rng.normal(0, 15, (len(NAMES), side, side))
    return (spectra.T[:, None, :] * brightness + noise).clip(1, 15000).astype("uint16")


def declared(
    path: Path, values: np.ndarray, *, names: tuple[str, ...] = NAMES, **fields: Any
) -> Raster:
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=values.dtype
    ) as out:
        out.write(values)
        out.descriptions = names
    given: dict[str, Any] = {"high": 3000, "reflectance": 10_000} | fields
    return Raster(file=path, bands=(names[2], names[1], names[0]), **given)


def kinds(ref: Raster) -> list[str]:
    return [each.kind for each in suspicions(ref)]


def exchanged(first: str, second: str) -> tuple[str, ...]:
    """The names with two of them exchanged."""
    swap = {first: second, second: first}
    return tuple(swap.get(name, name) for name in NAMES)


@pytest.mark.parametrize(
    "covers",
    [
        ("forest", "grass", "soil", "turbid water"),
        ("forest", "soil", "burnt"),
        ("grass", "concrete"),
        *[(cover,) for cover in SPECTRA],
        ("sea", "shallow lagoon"),
        ("cloud", "snow"),
        ("sand", "concrete"),
    ],
    ids=lambda covers: "+".join(covers),
)
def test_a_scene_under_its_own_names_passes(tmp_path: Path, covers: tuple[str, ...]) -> None:
    assert "bands" not in kinds(declared(tmp_path / "a.tif", scene(*covers)))


@pytest.mark.parametrize(
    "pair",
    [
        *combinations(("B02", "B03", "B04", "B08"), 2),
        ("B08", "B11"),
        ("B08", "B12"),
        ("B11", "B12"),
        ("B04", "B11"),
    ],
    ids="-".join,
)
def test_exchanged_bands_are_rejected_where_plants_grow(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    values = scene("forest", "grass", "soil", "turbid water")
    ref = declared(tmp_path / "a.tif", values, names=exchanged(*pair))
    assert "bands" in kinds(ref)


def test_the_error_names_the_file_the_bands_and_the_reason(tmp_path: Path) -> None:
    values = scene("forest", "grass", "soil")
    ref = declared(tmp_path / "a.tif", values, names=exchanged("B04", "B08"))
    with pytest.raises(DataError) as caught:
        require_plausible([ref])
    text = str(caught.value)
    assert "\n" not in text
    assert "a.tif: " in text
    assert "bright in B04 and dark in B08, as no land, cloud or water is" in text
    assert "compare band names and files" in text


@pytest.mark.parametrize("cover", ["sea", "cloud", "sand", "snow"])
def test_exchanged_bands_of_a_scene_that_tells_nothing_pass(tmp_path: Path, cover: str) -> None:
    ref = declared(tmp_path / "a.tif", scene(cover), names=exchanged("B03", "B04"))
    assert "bands" not in kinds(ref)


def test_four_bands_are_enough(tmp_path: Path) -> None:
    values = scene("forest", "grass", "soil", "turbid water")[:4]
    words = ("blue", "green", "red", "nir")
    assert kinds(declared(tmp_path / "a.tif", values, names=words)) == []
    assert "bands" in kinds(declared(tmp_path / "b.tif", values, names=words[::-1]))


def test_three_bands_tell_nothing_of_their_order(tmp_path: Path) -> None:
    values = scene("forest", "soil")[:3]
    assert kinds(declared(tmp_path / "a.tif", values, names=("B04", "B03", "B02"))) == []


def test_bands_that_are_no_reflectances_are_not_judged(tmp_path: Path) -> None:
    values = scene("forest", "grass")
    ref = declared(tmp_path / "a.tif", values, names=exchanged("B04", "B08"), reflectance=None)
    assert "bands" not in kinds(ref)


@pytest.mark.parametrize(
    ("factor", "dtype", "reflectance", "offset", "reason"),
    [
        (1e-4, "float32", 10_000, 0, "values reach 0.5.*far too dark for reflectance=10000"),
        (0.05, "uint8", 10_000, 0, "far too dark"),
        (0.03, "uint16", 10_000, 0, "far too dark"),
        (1, "uint16", 1, 0, "the median is .* far too bright for reflectance=1,"),
        (1, "uint16", 10_000, 1000, "a reflectance below 0 for reflectance=10000, offset=1000"),
    ],
    ids=["0..1", "8 bits", "0..255", "reflectance 1", "offset"],
)
def test_values_of_another_scale_are_rejected(
    tmp_path: Path, factor: float, dtype: str, reflectance: float, offset: float, reason: str
) -> None:
    values = (scene("forest", "grass", "soil") * factor).astype(dtype)
    ref = declared(tmp_path / "a.tif", values, reflectance=reflectance, offset=offset)
    (found,) = [each for each in suspicions(ref) if each.kind == "scale"]
    with pytest.raises(DataError, match=reason):
        require_plausible([ref])
    assert found.rejects


@pytest.mark.parametrize(
    ("factor", "dtype", "reflectance", "offset"),
    [(1e-4, "float32", 1, 0), (1, "uint16", 10_000, 0), (1, "int16", 10_000, 0)],
)
def test_the_right_scale_passes(
    tmp_path: Path, factor: float, dtype: str, reflectance: float, offset: float
) -> None:
    values = (scene("forest", "grass", "sea") * factor).astype(dtype)
    ref = declared(
        tmp_path / "a.tif", values, reflectance=reflectance, offset=offset, high=3000 * factor
    )
    assert suspicions(ref) == ()


def test_dark_clear_water_is_not_taken_for_eight_bits(tmp_path: Path) -> None:
    values = (scene("sea") * 0.5).astype("uint16")
    assert "scale" not in kinds(declared(tmp_path / "a.tif", values))


def test_zeros_without_declared_nodata_are_mentioned_not_rejected(tmp_path: Path) -> None:
    values = scene("forest", "grass")
    values[:, :15] = 0
    (found,) = suspicions(declared(tmp_path / "a.tif", values))
    assert (found.kind, found.rejects) == ("zeros", False)
    assert "25% of the pixels are 0 in B04, B03, B02, and nodata is not declared" in found.message
    assert suspicions(declared(tmp_path / "b.tif", values, nodata=0)) == ()


def test_a_picture_that_is_black_all_over_is_mentioned(tmp_path: Path) -> None:
    ref = declared(tmp_path / "a.tif", scene("forest"), reflectance=None, high=5_000_000)
    (found,) = suspicions(ref)
    assert (found.kind, found.rejects) == ("contrast", False)
    assert "show nothing but black" in found.message


def test_one_odd_image_among_many_does_not_reject_a_data_set(tmp_path: Path) -> None:
    values = scene("forest", "grass", "soil")
    good = declared(tmp_path / "good.tif", values)
    odd = declared(tmp_path / "odd.tif", values, names=exchanged("B04", "B08"))
    require_plausible([good] * 7 + [odd])
    with pytest.raises(DataError, match=r"as in 2 more of 8 images"):
        require_plausible([good] * 5 + [odd] * 3)


def test_a_band_that_is_not_shown_may_be_absent(tmp_path: Path) -> None:
    values = scene("forest", "grass", "soil", "turbid water")[:4]
    there = declared(tmp_path / "a.tif", values, names=exchanged("B04", "B08")[:4]).file
    assert there is not None
    files = dict.fromkeys(NAMES[:4], there) | {"B11": tmp_path / "absent.tif"}
    ref = Raster(files=files, bands=("B04", "B03", "B02"), high=3000, reflectance=10_000)
    assert "bands" in kinds(ref)


def test_an_ordinary_file_has_no_suspicions(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert suspicions(tmp_path / "a.png") == ()


# -- real files -----------------------------------------------------------------------------------


def patches(realdata: Path, names: tuple[str, ...]) -> list[tuple[Suspicion, ...]]:
    """Return the suspicions in the six Sentinel-2 patches if their bands are named `names`."""
    found = []
    for folder in sorted((realdata / "BigEarthNet_v1" / "BigEarthNet-v1.0").iterdir()):
        files = {
            name: folder / f"{folder.name}_{band}.tif"
            for band, name in zip(NAMES, names, strict=True)
        }
        bands = ("B04", "B03", "B02")
        found.append(suspicions(Raster(files=files, bands=bands, high=2000, reflectance=10_000)))
    return found


def test_real_patches_pass(realdata: Path) -> None:
    # the sixth is snow, which is white with high=2000
    assert [[each.kind for each in found] for found in patches(realdata, NAMES)][:5] == [[]] * 5
    assert not any(each.rejects for found in patches(realdata, NAMES) for each in found)


@pytest.mark.parametrize(
    ("pair", "least"),
    [(("B04", "B08"), 5), (("B02", "B04"), 4), (("B03", "B08"), 5), (("B02", "B03"), 3)],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_exchanged_bands_of_real_patches_are_rejected(
    realdata: Path, pair: tuple[str, str], least: int
) -> None:
    rejected = [any(e.rejects for e in found) for found in patches(realdata, exchanged(*pair))]
    assert sum(rejected) >= least
