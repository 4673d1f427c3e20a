from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm import raster
from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster import images, reference


def write_tif(path: Path, bands: Sequence[np.ndarray], *, nodata: float | None = None) -> Path:
    height, width = bands[0].shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=len(bands),
        dtype=bands[0].dtype,
        nodata=nodata,
    ) as out:
        for index, band in enumerate(bands, start=1):
            out.write(band, index)
    return path


def ramp(low: int, high: int, *, side: int = 8, dtype: str = "uint16") -> np.ndarray:
    return np.linspace(low, high, side * side).reshape(side, side).astype(dtype)


def one_file(path: Path, *, low: float = 0, high: float = 1000, **fields: object) -> Raster:
    return Raster(
        files={"R": path, "G": path, "B": path},
        bands=("R", "G", "B"),
        low=low,
        high=high,
        **fields,  # type: ignore[arg-type]
    )


# -- ordinary files -------------------------------------------------------------------------------


def test_a_colour_file_is_shown_as_it_is(tmp_path: Path) -> None:
    stored = Image.new("RGB", (3, 2), (10, 20, 30))
    stored.save(tmp_path / "a.png")
    image = raster.open_image(tmp_path / "a.png")
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), (10, 20, 30))


def test_the_picture_outlives_its_file(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "a.png")
    image = raster.open_image(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert image.resize((6, 4)).getpixel((5, 3)) == (10, 20, 30)


def test_grey_is_repeated_in_three_bands(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 77).save(tmp_path / "a.png")
    assert raster.open_image(tmp_path / "a.png").getpixel((0, 0)) == (77, 77, 77)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    stored = Image.new("P", (3, 2), 1)
    stored.putpalette([0, 0, 0, 200, 100, 50])
    stored.save(tmp_path / "a.png")
    assert raster.open_image(tmp_path / "a.png").getpixel((0, 0)) == (200, 100, 50)


def test_bilevel_is_black_and_white(tmp_path: Path) -> None:
    Image.new("1", (3, 2), 1).save(tmp_path / "a.tif")
    assert raster.open_image(tmp_path / "a.tif").getpixel((0, 0)) == (255, 255, 255)


def test_transparent_pixels_are_black_whatever_colour_hides_in_them(tmp_path: Path) -> None:
    stored = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    stored.putpixel((1, 0), (200, 100, 50, 0))
    stored.save(tmp_path / "a.png")
    image = raster.open_image(tmp_path / "a.png")
    assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == ((200, 100, 50), (0, 0, 0))


def test_the_transparent_colour_of_a_palette_is_black(tmp_path: Path) -> None:
    stored = Image.new("P", (2, 1), 0)
    stored.putpalette([255, 255, 255, 200, 100, 50])
    stored.putpixel((1, 0), 1)
    stored.save(tmp_path / "a.png", transparency=0)
    image = raster.open_image(tmp_path / "a.png")
    assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == ((0, 0, 0), (200, 100, 50))


def test_the_transparent_colour_of_a_colour_file_is_black(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (9, 9, 9)).save(tmp_path / "a.png", transparency=(9, 9, 9))
    assert raster.open_image(tmp_path / "a.png").getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_refused_with_the_way_out(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(ramp(0, 4000)).save(path)
    with pytest.raises(DataError, match=r"a\.\w+: more than 8-bit values.*Raster with bands"):
        raster.open_image(path)


def test_floating_point_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "vh.tif", [ramp(-30, 0, dtype="float32")])
    with pytest.raises(DataError, match=r"vh\.tif: floating-point values.*Raster"):
        raster.open_image(path)


def test_sixteen_bit_colour_is_not_silently_shown_by_its_high_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with rasterio.open(path, "w", driver="PNG", width=8, height=8, count=3, dtype="uint16") as out:
        out.write(np.stack([ramp(0, 2000)] * 3))
    with pytest.raises(DataError, match=r"a\.png: more than 8-bit"):
        raster.open_image(path)


def test_thirteen_bands_ask_for_a_choice_of_three(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "s2.tif", [ramp(0, 4000)] * 13)
    with pytest.raises(DataError, match=r"s2\.tif: 13 band\(s\) of uint16.*Raster"):
        raster.open_image(path)
    with pytest.raises(DataError, match=r"s2\.tif: 13 band\(s\)"):
        raster.image_size(path)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: the image file is empty \(0 bytes\)"):
        raster.open_image(tmp_path / "a.png")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: no such image file"):
        raster.image_size(tmp_path / "a.png")


def test_a_file_that_the_system_does_not_give_is_not_called_absent(tmp_path: Path) -> None:
    loop = tmp_path / "a.png"  # a link to itself: an error for root too, unlike permissions
    loop.symlink_to(loop)
    for look in (raster.image_size, raster.open_image, images.scene_size):
        with pytest.raises(DataError, match=r"a\.png: the image file cannot be read: Too many"):
            look(loop)
    with pytest.raises(DataError, match=r"a folder, not an image file"):
        raster.image_size(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_file_without_permission_is_not_called_damaged(
    tmp_path: Path, name: str, closed: str
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = folder / name
    Image.new("L", (8, 8), 3).save(path)
    denied = path if closed == "file" else folder
    denied.chmod(0)
    try:
        for image in (path, Raster(file=path, bands=("1", "1", "1"), band_index={"1": 1})):
            with pytest.raises(DataError, match=r"cannot be read: Permission denied") as caught:
                raster.open_image(image)
            assert "permissions" in str(caught.value)
    finally:
        denied.chmod(0o755)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"a\.png: not a readable image"):
        raster.open_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_half_written_file_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"a\.\w+: "):
        raster.open_image(path)


@pytest.mark.parametrize("compress", ["none", "lzw", "deflate"])
def test_a_half_written_geotiff_is_named(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", compress=compress
    ) as out:
        out.write(noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.tif: "):
        raster.open_image(path)
    with pytest.raises(DataError, match=r"a\.tif: "):
        raster.open_image(one_file(path, high=255))


def test_a_scene_too_large_for_memory_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"a\.png: .*\(cut the image into tiles\)"):
        raster.image_size(tmp_path / "a.png")


def test_the_size_is_width_then_height(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert raster.image_size(tmp_path / "a.png") == (30, 20)


def test_a_file_that_changes_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    first = raster.image_size(path)
    Image.new("RGB", (300, 200)).save(path)
    assert (first, raster.image_size(path)) == ((30, 20), (300, 200))


# -- bands ----------------------------------------------------------------------------------------


def test_bands_are_stretched_linearly_and_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 500, 1000, 2000]], dtype="uint16")
    path = write_tif(tmp_path / "a.tif", [values])
    image = raster.open_image(one_file(path))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255, 255]  # 127.5 rounds to even


def test_bands_are_chosen_by_name_and_number(tmp_path: Path) -> None:
    flat = [np.full((2, 2), value, dtype="uint16") for value in (0, 200, 400, 1000)]
    path = write_tif(tmp_path / "a.tif", flat)
    ref = one_file(path, band_index={"R": 4, "G": 3, "B": 2})
    assert raster.open_image(ref).getpixel((0, 0)) == (255, 102, 51)


def test_bands_of_another_size_are_resampled_to_the_first(tmp_path: Path) -> None:
    red = write_tif(tmp_path / "r.tif", [np.zeros((6, 6), "uint16")])
    green = write_tif(tmp_path / "g.tif", [np.array([[0, 1000]] * 2, dtype="uint16")])
    ref = Raster(files={"R": red, "G": green, "B": red}, bands=("R", "G", "B"), low=0, high=1000)
    image = raster.open_image(ref)
    assert image.size == raster.image_size(ref) == (6, 6)
    # the two centres lie at 1 and 4 of the six: thirds of 255 between them
    assert np.asarray(image)[3, :, 1].tolist() == [0, 0, 85, 170, 255, 255]


def test_declared_nodata_is_black(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [np.array([[9999, 1000]], "uint16")], nodata=9999)
    assert np.asarray(raster.open_image(one_file(path)))[0, :, 0].tolist() == [0, 255]


def test_nodata_of_the_reference_wins_over_the_file(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [np.array([[9999, 1000]], "uint16")], nodata=9999)
    image = raster.open_image(one_file(path, nodata=1000.0))
    assert np.asarray(image)[0, :, 0].tolist() == [255, 0]


def test_nan_is_black_and_decibels_are_stretched(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [np.array([[np.nan, -25, -12.5, 0]], "float32")])
    image = raster.open_image(one_file(path, low=-25, high=0))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_a_missing_band_is_named(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [ramp(0, 9)])
    ref = Raster(files={"B04": path}, bands=("B04", "B03", "B02"), low=0, high=1)
    with pytest.raises(DataError, match=r"band 'B03' has no file \(Raster.files has B04\)"):
        raster.open_image(ref)


def test_a_band_number_beyond_the_file_is_named(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [ramp(0, 9)])
    with pytest.raises(DataError, match=r"a\.tif: band 4 does not exist, the file has 1"):
        raster.open_image(one_file(path, band_index={"G": 4}))


def test_an_empty_range_is_refused(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", [ramp(0, 9)])
    with pytest.raises(DataError, match=r"low=5 is not below high=5"):
        raster.open_image(one_file(path, low=5, high=5))


def test_an_empty_band_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(DataError, match=r"a\.tif: the image file is empty"):
        raster.image_size(one_file(tmp_path / "a.tif"))


# -- references -----------------------------------------------------------------------------------


def test_references_survive_json(tmp_path: Path) -> None:
    ref = one_file(tmp_path / "a.tif", band_index={"R": 4}, nodata=0.0)
    assert reference.decode(json.loads(json.dumps(reference.encode(ref)))) == ref
    assert reference.decode(json.loads(json.dumps(reference.encode(tmp_path)))) == tmp_path


def test_nodata_that_is_nan_survives_strict_json(tmp_path: Path) -> None:
    ref = one_file(tmp_path / "a.tif", nodata=math.nan)
    back = reference.decode(json.loads(json.dumps(reference.encode(ref), allow_nan=False)))
    assert isinstance(back, Raster)
    assert back.nodata is not None and math.isnan(back.nodata)


def test_encoded_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert reference.encode(Path("a.png")) == str(Path.cwd() / "a.png")
    encoded = reference.encode(one_file(Path("b.tif")))
    assert isinstance(encoded, dict)
    assert encoded["files"]["R"] == str(Path.cwd() / "b.tif")  # type: ignore[index, call-overload]


# -- real files -----------------------------------------------------------------------------------


def sentinel_2(realdata: Path, bands: tuple[str, str, str]) -> Raster:
    folder = sorted((realdata / "BigEarthNet_v1" / "BigEarthNet-v1.0").iterdir())[0]
    files = {band: folder / f"{folder.name}_{band}.tif" for band in bands}
    return Raster(files=files, bands=bands, low=0, high=2000)


def test_a_sentinel_2_patch_is_neither_black_nor_white(realdata: Path) -> None:
    image = raster.open_image(sentinel_2(realdata, ("B04", "B03", "B02")))
    assert image.size == (120, 120)
    assert 20 < np.asarray(image).mean() < 200


def test_bands_of_three_resolutions_make_one_patch(realdata: Path) -> None:
    image = raster.open_image(sentinel_2(realdata, ("B04", "B11", "B01")))
    assert image.size == (120, 120)
    assert len(np.unique(np.asarray(image)[:, :, 2])) > 20


def test_opening_three_bands_takes_less_than_twice_the_reading_of_them(realdata: Path) -> None:
    """5 ms against 3.5 on an idle core of 2026; a ratio, as cores are slow and shared."""
    ref = sentinel_2(realdata, ("B04", "B03", "B02"))

    def read() -> None:
        for band in ref.bands:
            with rasterio.open(ref.files[band]) as file:
                file.read(1)

    def seconds(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    pairs = [(seconds(lambda: raster.open_image(ref)), seconds(read)) for _ in range(40)]
    opened, plain = map(min, zip(*pairs, strict=True))
    assert opened < 2 * plain


def test_sentinel_1_decibels_are_shown(realdata: Path) -> None:
    folder = sorted((realdata / "BigEarthNet_v1" / "BigEarthNet-S1-v1.0").iterdir())[0]
    files = {band: folder / f"{folder.name}_{band}.tif" for band in ("VV", "VH")}
    image = raster.open_image(Raster(files=files, bands=("VV", "VH", "VV"), low=-25, high=0))
    assert 10 < np.asarray(image).mean() < 245


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("RSVQA_LR/Images_LR/*.tif", (256, 256)),
        ("EuroSAT_RGB/*/*.jpg", (64, 64)),
        ("joplin_geotiff_pair/*/*.tif", (1024, 1024)),
        ("geotiff_samples/RGB.byte.tif", (791, 718)),
        ("DOTA/images_mmrotate_split/*.png", (285, 294)),
        ("UCMerced_LandUse/Images/agricultural/*.tif", (256, 256)),
        ("xBD/train/images/*.png", (1024, 1024)),
    ],
)
def test_real_pictures_open_at_their_size(
    realdata: Path, pattern: str, size: tuple[int, int]
) -> None:
    path = sorted(realdata.glob(pattern))[0]
    image = raster.open_image(path)
    assert (image.mode, image.size, raster.image_size(path)) == ("RGB", size, size)
    assert np.asarray(image).std() > 2


def test_real_sixteen_bit_grey_needs_a_range(realdata: Path) -> None:
    path = realdata / "geotiff_samples" / "spacenet_sample_geotiff.tif"
    with pytest.raises(DataError, match=r"spacenet_sample_geotiff\.tif: more than 8-bit"):
        raster.open_image(path)
    assert np.asarray(raster.open_image(one_file(path, high=2000))).std() > 5
