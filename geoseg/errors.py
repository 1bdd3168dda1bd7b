"""The error tree: every failure geoseg foresees, with the exit code the command line gives it.

GeosegError                 1   environment or internal failure
├── InputError              2   usage, or an input refused or found damaged
│   ├── SceneError              the scene: georeference, bands, dtype, a block that cannot be read
│   ├── BundleError             the model bundle: damaged, or not made for this scene
│   ├── SettingsError           a pipeline or config: unknown key, bad value
│   ├── OffMapError             zones of which none lies on the map
│   └── ProductError            a run folder or file geoseg made: incomplete, damaged, already there
│       └── BusyError               … or being written by another process just now
├── ResourceError           1   disk full, out of memory, a device that is not there
│   ├── NetworkError            … or a network or server that does not answer just now
│   └── FullDiskError       4   … or no space for the files of a batch, which stops and can be resumed
└── InterruptedRun        130   SIGINT or SIGTERM; the same command resumes or starts again

A message says the value, the place and the remedy, in one line.
"""


class GeosegError(Exception):
    """Environment or internal failure; the root of the tree."""

    exit_code = 1


class InputError(GeosegError):
    """The user's input is refused: nothing was changed, the message has the remedy."""

    exit_code = 2


class SceneError(InputError):
    """A scene that cannot be used, or a block of it that cannot be read."""


class BundleError(InputError):
    """A model bundle that is damaged, or that was not made for this scene."""


class SettingsError(InputError):
    """A pipeline or config with an unknown key or an impossible value."""


class OffMapError(InputError):
    """Zones of which none lies on the map; other zones may, and the scene itself can be mapped."""


class ProductError(InputError):
    """A run folder or a file written by geoseg that is incomplete, damaged or in the way."""


class BusyError(ProductError):
    """Another process is at work in the folder; later it will not be."""


class ResourceError(GeosegError):
    """The machine ran out of disk or memory, or lacks a device."""


class NetworkError(ResourceError):
    """A server did not answer, or not all of it, or is overloaded; later it may."""


class FullDiskError(ResourceError):
    """A batch has no space for its own files: it stops, as for any full disk, and can be resumed."""

    exit_code = 4


class InterruptedRun(KeyboardInterrupt):
    """The user or the scheduler stopped the run; no product was left half made."""
