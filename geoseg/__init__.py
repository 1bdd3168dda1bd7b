"""geoseg: from a satellite scene to an area figure that can be defended."""

__version__ = "0.1.0"
