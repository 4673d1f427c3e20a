"""Finds the georeference of an image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from geovlm.api import Raster
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.images import first_file


def placed(image: Path | Raster) -> tuple[Georeference | None, str]:
    """Return the georeference of an image, that of its first band, and a note for the user.

    An image without a CRS, or with one that is not on the earth, has none.

    Raises:
        DataError: The file is not a raster; the whole scene lies where its CRS is not defined.
        ConfigError: PROJ cannot use its database.
    """
    from geovlm.raster.files import opened
    from geovlm.raster.pictures import only_pillow_reads
    from geovlm.raster.places import operations, reading

    path = first_file(image)
    if not isinstance(image, Raster) and only_pillow_reads(path):
        return None, f"{path} is not georeferenced"
    with opened(path) as source:
        place, note = reading.read(source, path)
    if place is None:
        return None, note
    if place.crs is None:
        return None, (
            f"{path} has a transform but no CRS, so it counts as without georeference; write the "
            "CRS into the file with gdal_edit.py -a_srs EPSG:… (or rio edit-info --crs)"
        )
    if not operations.is_on_earth(place.crs):
        return None, (
            f"{path} has a local CRS or one of another planet, so it counts as without georeference"
        )
    found = Georeference(crs=place.crs, transform=place.transform, file=path, size=place.size)
    if isinstance(image, Raster) and image.window is not None:
        column, row, width, height = image.window
        ((x, y),) = found.source([(column, row)])
        a, b, _, d, e, _ = found.transform
        found = dataclasses.replace(found, transform=(a, b, x, d, e, y), size=(width, height))
    found.check(*found.size)
    return found, note
