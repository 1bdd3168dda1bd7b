"""Report: what people and catalogues read of a finished run: HTML, STAC item, QGIS style. No pixel is computed here."""
