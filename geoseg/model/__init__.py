"""The model room: bundles, networks, predictors. Importing it imports no torch; `bundle` never does."""
