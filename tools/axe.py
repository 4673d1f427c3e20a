"""axe-core, which finds faults of accessibility in a page: fetched from npm once per user.

It is no part of this repository (MPL-2.0) and is checked against the sum below.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from geovlm.errors import GeoVLMError
from tools.families.sources import cache, kept

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""Sum of `axe.min.js` in that version."""


def script() -> str:
    """Return the source of axe-core, which defines `axe` in a page.

    Raises:
        GeoVLMError: npm cannot fetch it, or it is not the file whose sum is known.
    """
    return kept(cache() / "npm" / f"axe-core-{VERSION}.min.js", _fetched).decode()


def _fetched() -> bytes:
    package = f"axe-core@{VERSION}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", package, "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise GeoVLMError("npm is not on the path", hint="install Node.js") from None
        except subprocess.CalledProcessError as error:
            raise GeoVLMError(f"npm cannot fetch {package}: {error.stderr.strip()}") from error
        with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as archive:
            file = archive.extractfile("package/axe.min.js")
            assert file is not None, "axe.min.js is a folder"
            data = file.read()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        raise GeoVLMError(f"axe.min.js of {package} has the SHA-256 {found}, not {SHA256}")
    return data
