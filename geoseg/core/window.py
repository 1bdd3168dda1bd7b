"""A rectangle of pixels on a grid. What is read through it belongs to `raster`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window:
    """A rectangle of pixels: first row and column, height and width. Order: row, col, height, width."""

    row: int
    """First row; may be negative only while planning, never in a patch of a scene."""
    col: int
    """First column."""
    height: int
    """Rows covered, > 0."""
    width: int
    """Columns covered, > 0."""

    def __post_init__(self) -> None:
        if self.height <= 0 or self.width <= 0:
            raise ValueError(f"window {self.height} x {self.width} is empty")

    @property
    def row_stop(self) -> int:
        """The row after the last."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """The column after the last."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def clip(self, height: int, width: int) -> "Window":
        """The part of this window inside a raster of (height, width).

        Raises:
            ValueError: no pixel is inside.
        """
        row, col = max(self.row, 0), max(self.col, 0)
        return Window(
            row=row,
            col=col,
            height=min(self.row_stop, height) - row,
            width=min(self.col_stop, width) - col,
        )

    def slices_in(self, outer: "Window") -> tuple[slice, slice]:
        """(row slice, col slice) of this window inside an array that covers `outer`."""
        row, col = self.row - outer.row, self.col - outer.col
        return slice(row, row + self.height), slice(col, col + self.width)

    def halves(self) -> "tuple[Window, Window]":
        """The window cut across its longer side, which has 2 pixels at least: upper and lower, or left and right."""
        if self.height >= self.width:
            top = self.height // 2
            return (
                Window(row=self.row, col=self.col, height=top, width=self.width),
                Window(row=self.row + top, col=self.col, height=self.height - top, width=self.width),
            )
        left = self.width // 2
        return (
            Window(row=self.row, col=self.col, height=self.height, width=left),
            Window(row=self.row, col=self.col + left, height=self.height, width=self.width - left),
        )
