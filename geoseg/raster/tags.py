"""The few TIFF tags that GDAL hides or bends, read from the first directory, bounded; nothing else of TIFF is here."""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

_NODATA: Final = 42113
_ROWS_PER_STRIP: Final = 278
_COLOR_MAP: Final = 320
_MAX_ENTRIES: Final = 4096
_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTags:
    """What the file itself says; None where it says nothing."""

    nodata: str | None = None
    """Text of GDAL_NODATA as written; GDAL would turn "none" and "0,5" into 0."""
    color_table: bool = False
    """Pixels are indices of a colour table."""
    rows_per_strip: int | None = None
    """None in a tiled file."""


def read_raw_tags(file: BinaryIO) -> RawTags:
    """Tags of the first directory of an open TIFF or BigTIFF; empty where the directory cannot be followed."""
    try:
        return _read(file)
    except (struct.error, ValueError, OverflowError, OSError):
        return RawTags()


def _read(file: BinaryIO) -> RawTags:
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    offset = struct.unpack(f"{order}Q", head[8:16])[0] if big else struct.unpack(f"{order}I", head[4:8])[0]
    file.seek(offset)
    count_form, entry_form, inline = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
    (count,) = struct.unpack(order + count_form, file.read(struct.calcsize(order + count_form)))
    size = struct.calcsize(order + entry_form)
    nodata, color_table, rows = None, False, None
    for entry in struct.iter_unpack(order + entry_form, file.read(size * min(count, _MAX_ENTRIES))):
        tag, kind, length, value = entry
        color_table |= tag == _COLOR_MAP
        if tag == _ROWS_PER_STRIP and kind in (3, 4):
            (rows,) = struct.unpack(order + "HI"[kind - 3], value[: 2 * kind - 4])
        elif tag == _NODATA and kind == 2:
            if length > inline:
                file.seek(struct.unpack(f"{order}{'Q' if big else 'I'}", value)[0])
                value = file.read(min(length, _MAX_TEXT))
            nodata = value[:length].split(b"\0")[0].decode("latin-1").strip()
    return RawTags(nodata=nodata, color_table=color_table, rows_per_strip=rows)
