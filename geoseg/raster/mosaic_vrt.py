"""A mosaic of class maps that holds no pixels: a VRT which names its maps by paths relative to itself."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from odc.geo.geobox import GeoBox

from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.raster.classmap import LEGEND_TAG, dump_legend
from geoseg.raster.mosaic import Layer
from geoseg.raster.safety import plain


def write_vrt(
    path: Path,
    layers: Sequence[tuple[Layer, Window]],
    *,
    home: Path,
    grid: GeoBox,
    legend: Legend,
    tags: Mapping[str, str],
) -> None:
    """Writes the VRT; GDAL and QGIS open it, geoseg itself opens no VRT.

    Args:
        path: file to write.
        layers: maps and where they lie on the grid, on one lattice with it, the first on top.
        home: the folder the VRT will be in.
        grid: of the mosaic.
        legend: of all maps.
        tags: provenance.

    Raises:
        ProductError: a map marks what is no class by a mask or another value than 255.
    """
    with path.open("w", encoding="utf-8") as stream:
        for line in _lines(layers, home=home, grid=grid, legend=legend, tags=tags):
            stream.write(line + "\n")


def _lines(
    layers: Sequence[tuple[Layer, Window]], *, home: Path, grid: GeoBox, legend: Legend, tags: Mapping[str, str]
) -> Iterator[str]:
    height, width = grid.shape
    a, b, c, d, e, f = grid.affine[:6]
    yield f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
    # rasters are x, y in all of GDAL's files: longitude before latitude
    yield f'  <SRS dataAxisToSRSAxisMapping="{_axes(grid)}">{escape(grid.crs.to_wkt() if grid.crs else "")}</SRS>'
    yield f"  <GeoTransform>{', '.join(repr(float(one)) for one in (c, a, b, f, d, e))}</GeoTransform>"
    yield "  <Metadata>"
    for key, value in {**tags, LEGEND_TAG: dump_legend(legend)}.items():
        yield f"    <MDI key={quoteattr(key)}>{escape(value)}</MDI>"
    yield "  </Metadata>"
    yield '  <VRTRasterBand dataType="Byte" band="1">'
    yield "    <Description>class</Description>"
    yield f"    <NoDataValue>{NODATA}</NoDataValue>"
    yield "    <ColorInterp>Palette</ColorInterp>"
    yield from _color_table(legend)
    for layer, window in reversed(layers):  # what comes later is drawn over what came before
        yield from _source(layer, window, home)
    yield "  </VRTRasterBand>"
    yield "</VRTDataset>"


def _axes(grid: GeoBox) -> str:
    """The order in which the CRS names what a raster calls x and y."""
    axes = grid.crs.proj.axis_info if grid.crs else []
    return (
        "2,1"
        if axes
        and axes[0].direction in ("north", "south")
        and len(axes) > 1
        and (axes[1].direction in ("east", "west"))
        else "1,2"
    )


def _color_table(legend: Legend) -> Iterator[str]:
    colors = {one.id: (*one.rgb, 255) for one in legend}
    yield "    <ColorTable>"
    for value in range(256):
        red, green, blue, alpha = colors.get(value, (0, 0, 0, 0 if value == NODATA else 255))
        yield f'      <Entry c1="{red}" c2="{green}" c3="{blue}" c4="{alpha}"/>'
    yield "    </ColorTable>"


def _source(layer: Layer, window: Window, home: Path) -> Iterator[str]:
    classmap = layer.classmap
    if classmap.masked or classmap.nodata != NODATA:
        raise ProductError(
            f"{plain(layer.name)} marks what is no class by {'a mask' if classmap.masked else classmap.nodata}, not "
            f"{NODATA}: a VRT cannot bring that together; name OUT .tif"
        )
    try:
        name = os.path.relpath(classmap.path, home)
        name.encode("utf-8")
    except ValueError as error:  # another drive, or a name that is no text
        raise ProductError(f"{plain(layer.name)} cannot be named in a VRT: name OUT .tif") from error
    if not name.isprintable():
        raise ProductError(f"{plain(layer.name)} has control characters in its path: rename it, or name OUT .tif")
    height, width = window.shape
    yield "    <ComplexSource>"
    yield f'      <SourceFilename relativeToVRT="1">{escape(name)}</SourceFilename>'
    yield "      <SourceBand>1</SourceBand>"
    yield f'      <SourceProperties RasterXSize="{width}" RasterYSize="{height}" DataType="Byte"/>'
    yield f'      <SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
    yield f'      <DstRect xOff="{window.col}" yOff="{window.row}" xSize="{width}" ySize="{height}"/>'
    yield f"      <NODATA>{NODATA}</NODATA>"
    yield "    </ComplexSource>"
