"""A small design, for the tests of this room: two classes, four points of one and six of the other."""

from geoseg.accuracy.design import MapIdentity, SampleDesign, SamplePoint, Stratum
from geoseg.core.legend import LandClass, Legend

LEGEND = Legend(
    classes=(
        LandClass(id=0, name="Other land", color="#cccccc"),
        LandClass(id=1, name="forêt", color="#006400"),
        LandClass(id=7, name="1", color="#0000ff"),
    )
)


def make_design(*, points: tuple[int, int] = (4, 6), strata_source: str | None = None) -> SampleDesign:
    """Points 1 … of class 0 in row 0, the others of class 1 in row 1; 10 m pixels, 70 and 30 ha."""
    of_class = [0] * points[0] + [1] * points[1]
    strata = tuple(
        Stratum(id=k, name=LEGEND.name_of(k), area_m2=area, pixels=round(area / 100), points=points[k])
        for k, area in ((0, 7e5), (1, 3e5))
        if points[k]
    )
    return SampleDesign(
        map=MapIdentity(
            name="map.tif",
            pixels_sha256="0" * 64,
            crs="EPSG:32632",
            transform=(10.0, 0.0, 5e5, 0.0, -10.0, 5e6),
            shape=(2, 5000),
            nodata=255,
            footprint_m2=1e6,
        ),
        legend=LEGEND,
        classes=strata,
        strata=strata,
        strata_source=strata_source,
        allocation="equal",
        seed=3,
        buffer_pixels=0,
        excluded_m2={"no class (nodata or masked)": 123.0},
        points=tuple(
            SamplePoint(id=number, row=k, col=number, stratum=k, map_class=k)
            for number, k in enumerate(of_class, start=1)
        ),
    )
