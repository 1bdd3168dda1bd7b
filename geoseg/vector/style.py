"""How a GIS shows the polygons: a QGIS style by class, embedded in GeoPackages. Rasters have their own."""

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as Xml  # only writes: nothing foreign is parsed

from geoseg.core.legend import Legend

_LAYER_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), update_time DATETIME
)"""


def make_qml(legend: Legend) -> str:
    """A QGIS style for polygons: one category per class id, in the colors of the legend."""
    root = Xml.Element("qgis", version="3.28", styleCategories="Symbology")
    renderer = Xml.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_id", symbollevels="0")
    renderer.set("enableorderby", "0")
    categories = Xml.SubElement(renderer, "categories")
    symbols = Xml.SubElement(renderer, "symbols")
    for number, one in enumerate(legend):
        category = {"symbol": str(number), "value": str(one.id), "label": one.name, "render": "true"}
        Xml.SubElement(categories, "category", category)
        symbol = Xml.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1", clip_to_extent="1")
        layer = Xml.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0"})
        options = Xml.SubElement(layer, "Option", type="Map")
        color = ",".join(str(band) for band in (*one.rgb, 255))
        for name, value in {"color": color, "style": "solid", "outline_style": "no"}.items():
            Xml.SubElement(options, "Option", name=name, value=value, type="QString")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + Xml.tostring(root, encoding="unicode")


def embed_style(path: Path, layer: str, legend: Legend) -> None:
    """Add the table `layer_styles` to a GeoPackage: QGIS then opens the layer in the colors of the legend."""
    with closing(sqlite3.connect(path)) as package, package:
        package.execute(_LAYER_STYLES)
        package.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner, ui, update_time)"
            " VALUES ('', '', ?, 'geom', 'classes', ?, '', 1, 'colors of the legend', '', NULL,"
            " (SELECT last_change FROM gpkg_contents WHERE table_name = ?))",
            (layer, make_qml(legend), layer),
        )
        # Registered, so that GDAL and others list the table.
        package.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
            " SELECT 'layer_styles', 'attributes', 'layer_styles', '', last_change FROM gpkg_contents"
            " WHERE table_name = ?",
            (layer,),
        )
