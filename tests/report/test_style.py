"""The QGIS style of the class map: a class per entry, whatever its name."""

from xml.etree import ElementTree as Xml

from geoseg.report.style import make_raster_qml
from tests.report.products import a_legend


def test_every_class_is_an_entry() -> None:
    """Names with markup come back from an XML parser as they were; no entry for nodata, which stays transparent."""
    legend = a_legend('"other" & <b>', "forêt", "水")
    root = Xml.fromstring(make_raster_qml(legend))
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    found = [(one.get("value"), one.get("label"), one.get("color")) for one in renderer.iter("paletteEntry")]
    assert found == [(str(one.id), one.name, one.color) for one in legend]
