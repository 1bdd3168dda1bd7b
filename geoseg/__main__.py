"""`python -m geoseg` is `geoseg`."""

from geoseg.cli import main

main()
