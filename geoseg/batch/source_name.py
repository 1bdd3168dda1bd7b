"""A name in a source as the absolute path or address that it means; nothing is opened."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from geoseg.batch.found import is_name
from geoseg.batch.source_remote import join
from geoseg.errors import SceneError
from geoseg.raster.remote import is_remote
from geoseg.raster.remote_files import adopt

Base = Path | str
"""What names in a document are relative to: a folder, or the address of the document."""

_FILE: Final = re.compile(r"file:(?://(?:localhost)?)?(?=/)")
"""What comes before the path in the address of a file of this machine."""


def resolve(name: str, base: Base) -> str:
    """An absolute path or an address; the signature of an address is kept elsewhere.

    Raises:
        SceneError: it is an address that may not be read, or no name.
    """
    if isinstance(base, str):
        return adopt(join(base, name))
    if is_remote(name):
        return adopt(name)
    local = unquote(_FILE.sub("", name)) if _FILE.match(name) else name
    if not is_name(local):
        raise SceneError(f"{local!a} is no name of a scene: it has control characters or is no text: rename it")
    path = base / local
    if ".." not in path.parts:
        return os.path.abspath(path)
    # after a linked folder .. is the folder above where it leads to, as the system has it
    return os.path.realpath(path) if path.name == ".." else os.path.join(os.path.realpath(path.parent), path.name)
