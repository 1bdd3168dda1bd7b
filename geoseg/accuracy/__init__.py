"""Accuracy: sample designs and estimators of a map's error and area, in numpy alone. No raster is opened here."""
