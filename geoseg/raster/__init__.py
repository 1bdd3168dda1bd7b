"""Rasters: read scenes, write maps; rasterio lives here and nowhere else."""
