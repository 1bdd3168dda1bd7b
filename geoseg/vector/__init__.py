"""From finished labels to polygons: tracing, measuring, writing. shapely, geopandas and pyogrio live here only."""
