"""Pure values and arithmetic: numpy, pyproj, odc-geo. No file is opened here."""
