"""Pictures as paths: what GDAL says of bands, nodata and masks is respected in every format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from rasterio.enums import ColorInterp
from scipy.io import netcdf_file

from geovlm import raster
from geovlm.errors import DataError
from geovlm.predict import images, scenes
from geovlm.raster import open_window
from geovlm.raster.checks import suspicions
from geovlm.raster.images import has_data
from tests.raster.test_windows import described, write

RED, GREEN, BLUE = (200, 20, 10), (30, 190, 40), (5, 60, 180)
WHITE = (255, 255, 255)
COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def coloured(*pixels: tuple[int, int, int]) -> np.ndarray:
    """A row of pixels, (3, 1, W)."""
    return np.array([pixels], np.uint8).transpose(2, 0, 1)


def pixels(path: Path) -> list[tuple[int, ...]]:
    """Return the picture of one row, checked to be the same in a window."""
    whole = raster.open_image(path)
    part = open_window(path, (0, 0, *whole.size))
    assert part.tobytes() == whole.tobytes()
    return [tuple(pixel) for pixel in np.asarray(whole)[0].tolist()]


def test_white_nodata_of_a_colour_tiff_is_black(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", coloured(RED, WHITE, (255, 0, 0)), photometric="rgb", nodata=255
    )
    # a saturated red is data: not all of its colours are 255
    assert pixels(path) == [RED, (0, 0, 0), (255, 0, 0)]


def test_nodata_of_a_grey_tiff_is_black(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[7, 9]]], np.uint8), nodata=9)
    assert pixels(path) == [(7, 7, 7), (0, 0, 0)]


def test_nodata_that_no_byte_can_be_hides_nothing(tmp_path: Path) -> None:
    path, told = tmp_path / "a.tif", ImageFileDirectory_v2()
    told.tagtype[42113], told[42113] = 2, "-9999"
    Image.fromarray(np.array([[7, 0, 255]], np.uint8)).save(path, tiffinfo=told)
    with Image.open(path) as image:
        assert 42113 in image.tag_v2
    assert pixels(path) == [(7, 7, 7), (0, 0, 0), (255, 255, 255)]


def test_nodata_of_a_palette_is_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[0, 1]]], np.uint8), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (*RED, 255), 1: (*BLUE, 255)})
    assert pixels(path) == [(0, 0, 0), BLUE]


@pytest.mark.parametrize("internal", [True, False])
def test_what_a_mask_hides_is_black(tmp_path: Path, internal: bool) -> None:
    path = write(tmp_path / "a.tif", coloured(RED, GREEN), photometric="rgb")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(np.array([[0, 255]], np.uint8))
    assert (tmp_path / "a.tif.msk").is_file() is not internal
    assert pixels(path) == [(0, 0, 0), GREEN]


def test_bands_that_are_called_blue_green_red_are_shown_in_colour(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED)[::-1], photometric="rgb")
    described(path, ("B02", "B03", "B04"))
    assert pixels(path) == [RED]


def test_colours_declared_in_another_order_are_shown_as_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED)[::-1], photometric="rgb")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    assert pixels(path) == [RED]


def test_a_false_colour_picture_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", coloured(RED), photometric="rgb")
    described(path, ("B08", "B04", "B03"))
    assert pixels(path) == [RED]


def test_a_resampled_picture_keeps_the_order_of_its_colours(tmp_path: Path) -> None:
    grid = {"crs": "EPSG:32633", "photometric": "rgb"}
    solid = np.broadcast_to(np.array(RED[::-1], np.uint8)[:, None, None], (3, 64, 64))
    fine, coarse = (rasterio.Affine(side, 0, 0, 0, -side, 640) for side in (10, 20))
    first = write(tmp_path / "a.tif", solid, transform=fine, **grid)
    other = write(tmp_path / "b.tif", solid, transform=coarse, **grid)
    described(other, ("B02", "B03", "B04"))
    scene = scenes.scene([images.reference(path) for path in (first, other)], folder=tmp_path)
    assert open_window(scene.images[1], (20, 20, 1, 1)).getpixel((0, 0)) == RED


def test_near_infrared_called_alpha_fades_nothing_of_a_resampled_picture(tmp_path: Path) -> None:
    grid = {"crs": "EPSG:32633", "photometric": "rgb"}
    solid = np.broadcast_to(np.array(RED, np.uint8)[:, None, None], (3, 64, 64))
    infrared = np.zeros((1, 64, 64), np.uint8)
    infrared[..., ::2] = 90
    fine, coarse = (rasterio.Affine(side, 0, 0, 0, -side, 640) for side in (10, 20))
    first = write(tmp_path / "a.tif", solid, transform=fine, **grid)
    bands = np.concatenate([solid, infrared])
    other = write(tmp_path / "b.tif", bands, transform=coarse, alpha="yes", **grid)
    scene = scenes.scene([images.reference(path) for path in (first, other)], folder=tmp_path)
    assert np.unique(np.asarray(open_window(scene.images[1], (9, 9, 40, 40)))).tolist() == [
        10,
        20,
        200,
    ]


def test_a_picture_that_gdal_does_not_read_is_a_scene_without_georeference(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), RED).save(tmp_path / "a.avif")
    path = images.reference(tmp_path / "a.avif")
    scene = scenes.scene([path], folder=tmp_path)
    assert scene.georeference is None
    assert scene.notes == (f"{path} is not georeferenced",)
    assert has_data(path, (0, 0, 8, 6))


# -- what Pillow does not read, or shows otherwise ------------------------------------------------


SHADES = np.arange(8 * 8, dtype=np.uint8).reshape(1, 8, 8) * 3
COLOURED = np.concatenate([SHADES, 255 - SHADES, SHADES // 2])
DARKER = np.concatenate([COLOURED, SHADES // 3])


def whole(path: Path) -> np.ndarray:
    """Return the picture, (H, W, 3), checked to have its size and to be the same in a window."""
    shown = raster.open_image(path)
    assert shown.size == raster.image_size(path)
    assert open_window(path, (2, 1, 5, 6)).tobytes() == shown.crop((2, 1, 7, 7)).tobytes()
    return np.asarray(shown)


def kinds(path: Path) -> list[str]:
    return [each.kind for each in suspicions(path)]


@pytest.mark.parametrize("compress", ["lerc", "lerc_zstd", "lerc_deflate", "zstd", "lzma"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_every_compression_of_gdal_is_a_picture(
    tmp_path: Path, compress: str, interleave: str
) -> None:
    profile = {"compress": compress, "interleave": interleave, "photometric": "rgb"}
    path = write(tmp_path / "a.tif", COLOURED, **profile)
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    assert images.reference(path) == path
    assert kinds(path) == []


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_fourth_band_without_a_name_is_not_shown(tmp_path: Path, interleave: str) -> None:
    profile = {"photometric": "rgb", "alpha": "unspecified", "interleave": interleave}
    path = write(tmp_path / "a.tif", DARKER, **profile)
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    assert kinds(path) == []


@pytest.mark.parametrize("driver", ["GTiff", "JP2OpenJPEG", "HFA"])
@pytest.mark.parametrize("bands", [COLOURED, DARKER])
def test_of_bands_without_colours_the_first_three_are_shown_and_a_line_says_so(
    tmp_path: Path, driver: str, bands: np.ndarray
) -> None:
    lossless = {"reversible": "yes", "quality": "100"}
    options = {"GTiff": {"photometric": "minisblack"}, "JP2OpenJPEG": lossless, "HFA": {}}
    path = write(tmp_path / "a.x", bands, driver=driver, **options[driver])
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    (found,) = suspicions(path)
    assert f"its {len(bands)} bands are not called red, green and blue, so bands" in found.message
    assert "--bands" in found.hint
    assert not found.rejects


def test_near_infrared_called_alpha_hides_nothing_and_a_line_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", DARKER, photometric="rgb", alpha="yes")
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    (found,) = suspicions(path)
    assert "band 4 is called alpha, but its values are those of no mask" in found.message


def test_an_alpha_band_that_is_a_mask_hides_and_needs_no_line(tmp_path: Path) -> None:
    mask = (SHADES > 90).astype(np.uint8)
    bands = np.concatenate([COLOURED, mask * 255])
    path = write(tmp_path / "a.tif", bands, photometric="rgb", alpha="yes")
    assert (whole(path) == (COLOURED * mask).transpose(1, 2, 0)).all()
    assert kinds(path) == []


def test_soft_alpha_of_a_png_stays_alpha(tmp_path: Path) -> None:
    Image.fromarray(DARKER.transpose(1, 2, 0)).save(tmp_path / "a.png")
    expected = COLOURED.astype(float) * (SHADES // 3) / 255
    assert np.abs(whole(tmp_path / "a.png") - expected.transpose(1, 2, 0)).max() <= 0.5


@pytest.mark.parametrize("compress", ["deflate", "lerc"])
def test_0_is_white_where_the_file_says_so(tmp_path: Path, compress: str) -> None:
    path = write(tmp_path / "a.tif", SHADES, photometric="miniswhite", compress=compress, nodata=3)
    expected = np.where(SHADES == 3, 0, 255 - SHADES)[0]
    assert (whole(path) == expected[..., None]).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
@pytest.mark.parametrize("count", [1, 3])
def test_fewer_bits_reach_full_brightness(tmp_path: Path, bits: int, count: int) -> None:
    most = 2**bits - 1
    bands = COLOURED[:count] % (most + 1)
    path = write(
        tmp_path / "a.tif", bands, nbits=bits, photometric=("rgb" if count == 3 else "minisblack")
    )
    expected = np.rint(bands * (255 / most)).transpose(1, 2, 0)
    assert (whole(path) == expected).all()


def test_bands_in_any_order_are_shown_in_their_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.concatenate([SHADES, COLOURED]), photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.undefined, *COLOURS)
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    path = write(tmp_path / "b.tif", DARKER[[2, 1, 0, 3]], photometric="minisblack")
    described(path, ("blue", "green", "red", "nir"))
    assert (whole(path) == COLOURED.transpose(1, 2, 0)).all()
    assert kinds(path) == []


def test_cyan_magenta_yellow_and_black_are_shown_as_colours(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURED.transpose(1, 2, 0)).convert("CMYK")
    stored = np.asarray(image).transpose(2, 0, 1)
    path = write(tmp_path / "a.tif", stored, photometric="cmyk", compress="lerc")
    assert (whole(path) == np.asarray(image.convert("RGB"))).all()


def test_what_gdal_cannot_read_is_read_by_pillow_in_windows_too(tmp_path: Path) -> None:
    bands = np.tile(DARKER, (1, 4, 4))
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "band"}
    path = write(tmp_path / "a.tif", bands, photometric="cmyk", **blocks)
    with pytest.raises(rasterio.errors.RasterioIOError), rasterio.open(path) as file:
        file.read(1)
    cmyk = Image.merge("CMYK", [Image.fromarray(band) for band in bands])
    assert (whole(path) == np.asarray(cmyk.convert("RGB"))).all()


def test_a_picture_with_more_metadata_than_pillow_takes_is_shown(tmp_path: Path) -> None:
    note = PngInfo()
    note.add_text("history", "x" * (2 << 20), zip=True)
    Image.fromarray(COLOURED.transpose(1, 2, 0)).save(tmp_path / "a.png", pnginfo=note)
    assert (whole(tmp_path / "a.png") == COLOURED.transpose(1, 2, 0)).all()


def test_two_bands_are_no_picture_in_a_data_set_either(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", COLOURED[:2], photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: 2 band\(s\) of uint8 are not a picture"):
        raster.open_image(path)


def test_a_file_of_data_sets_says_how_to_take_one_out(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with netcdf_file(path, "w") as file:
        file.createDimension("y", 8)
        file.createDimension("x", 8)
        for name in ("first", "second"):
            file.createVariable(name, "i1", ("y", "x"))[:] = SHADES[0] // 3
    with pytest.raises(DataError, match=r"no band of its own, but 2 data sets inside.*gdal_tr"):
        raster.open_image(path)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "ppm", "tga", "webp", "jp2", "jpg", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_what_is_cut_off_is_refused_by_both_readers(
    tmp_path: Path, suffix: str, share: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=rf"a\.{suffix}: "):
        raster.open_image(path)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"PK\x03\x04", "a ZIP archive"),
    ],
)
def test_a_sound_file_of_another_format_is_not_called_damaged(
    tmp_path: Path, start: bytes, name: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(start + bytes(300))
    with pytest.raises(DataError, match=rf"a\.jpg is {name}, which neither .*convert it to PNG"):
        raster.open_image(tmp_path / "a.jpg")


def test_a_compression_that_gdal_lacks_is_named_and_not_called_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", COLOURED, compress="lerc", photometric="rgb")
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HHIH", 259, 3, 1, 34887))
    struct.pack_into("<H", data, at + 8, 50002)  # JPEG XL, which wheels of rasterio lack
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"missing codec.*may be sound: write it with another"):
        raster.open_image(path)


def test_the_preview_of_a_raw_file_is_not_shown_for_its_scene(tmp_path: Path) -> None:
    path = tmp_path / "a.dng"
    stored = Image.fromarray(COLOURED.transpose(1, 2, 0))
    stored.save(path, format="TIFF", tiffinfo={254: 1, 330: 8})
    for look in (raster.open_image, raster.image_size, images.reference):
        with pytest.raises(DataError, match=r"a\.dng: its first image is only a preview of"):
            look(path)


def test_further_images_in_a_file_are_told(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN))
    for suffix in ("tif", "gif"):
        path = tmp_path / f"a.{suffix}"
        first.save(path, save_all=True, append_images=[second])
        assert raster.open_image(path).getpixel((0, 0)) == RED
        (found,) = suspicions(path)
        assert "it holds 2 images, of which the first is shown" in found.message


def test_alpha_of_a_png_that_is_no_mask_is_told(tmp_path: Path) -> None:
    Image.fromarray(DARKER.transpose(1, 2, 0)).save(tmp_path / "a.png")
    (found,) = suspicions(tmp_path / "a.png")
    assert "its alpha, whose values are those of no mask, fades it to black" in found.message


def test_a_mask_next_to_a_png_is_not_applied_and_a_line_says_so(tmp_path: Path) -> None:
    Image.fromarray(COLOURED.transpose(1, 2, 0)).save(tmp_path / "a.png")
    write(tmp_path / "a.png.msk", SHADES)
    assert kinds(tmp_path / "a.png") == ["mask"]


def test_an_ordinary_picture_rests_on_no_assumption(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURED.transpose(1, 2, 0))
    for suffix in ("png", "jpg", "tif", "bmp", "gif", "webp", "avif"):
        image.save(tmp_path / f"a.{suffix}")
    assert [kinds(path) for path in tmp_path.iterdir()] == [[]] * 7
