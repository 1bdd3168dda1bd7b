"""`geoseg tile`, `geoseg predict` and `geoseg stitch`: the stages of a run on their own."""
