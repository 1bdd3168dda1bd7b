"""How QGIS shows the class map: a paletted raster style in the colors of the legend. Polygons have their own."""

from xml.etree import ElementTree as Xml  # only writes: nothing foreign is parsed

from geoseg.core.legend import Legend


def make_raster_qml(legend: Legend) -> str:
    """classes.qml: one entry per class of band 1; nodata stays transparent."""
    root = Xml.Element("qgis", version="3.28", styleCategories="AllStyleCategories")
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = Xml.SubElement(renderer, "colorPalette")
    for one in legend:
        Xml.SubElement(palette, "paletteEntry", value=str(one.id), label=one.name, color=one.color, alpha="255")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + Xml.tostring(root, encoding="unicode")
