"""A bundle's network in files that other programs run: ONNX, torch.export, OpenVINO. Do they agree: `parity`."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from geoseg.errors import BundleError, ResourceError, SettingsError
from geoseg.model.bundle import ModelBundle
from geoseg.model.network import load_network
from geoseg.model.parity import Parity, measure_parity

Format = Literal["onnx", "pt2", "openvino"]
FORMATS: Final[tuple[Format, ...]] = ("onnx", "pt2", "openvino")
INPUT: Final = "pixels"
OUTPUT: Final = "probabilities"
OPSET: Final = 18
"""Of ONNX: the first whose resizing is what torch's is."""
METADATA: Final = "geoseg"
"""Under this key each file holds what `describe_contract` gives, as JSON."""
_NEEDED: Final[Mapping[Format, tuple[str, ...]]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "pt2": (),
    "openvino": ("openvino",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One format, written and read back."""

    format: Format
    files: tuple[str, ...]
    """Names; the first is the one to open."""
    version: str
    """Of the format: `ONNX opset 18`."""
    parity: Parity


def check_formats(formats: Sequence[Format]) -> None:
    """Raises ResourceError where a format needs an extra that is not installed."""
    for one in formats:
        missing = [name for name in _NEEDED[one] if find_spec(name) is None]
        if missing:
            raise ResourceError(f"{one} needs {', '.join(missing)}: pip install 'geoseg[{one}]'")


def export_network(
    bundle: ModelBundle,
    folder: Path,
    *,
    formats: Sequence[Format],
    shape: tuple[int, int, int, int],
    examples: Sequence[npt.NDArray[np.float32]],
) -> list[Exported]:
    """Write the network in each format and compare what is read back with the bundle.

    The exported network takes normalised pixels, x = (raw * scale + offset - mean) / std and 0 where nothing was
    observed, and gives probabilities, softmax(logits / temperature).

    Args:
        bundle: weights and contract.
        folder: is there; files are called model.onnx, model.pt2, model.xml and model.bin.
        formats: which.
        shape: (tiles at once, bands, height, width) of the pixels, fixed in the files.
        examples: pixels of that shape, on which files and bundle are compared.

    Raises:
        SettingsError: a shape that the network does not take.
        BundleError: the network cannot be written in a format, or what is read back differs.
        ResourceError: an extra is not installed.
    """
    check_formats(formats)
    _check_shape(bundle, shape)
    network = _Probabilities(load_network(bundle), bundle.spec.temperature).eval()
    with torch.inference_mode():
        expected = [network(torch.from_numpy(one)).numpy() for one in examples]
    program = _trace(network, bundle, shape)
    contract = json.dumps(describe_contract(bundle, shape), ensure_ascii=True)
    done = []
    for one in formats:
        with _translated(bundle, one), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about themselves
            files, version = _WRITERS[one](program, folder, contract)
            found = measure_parity(folder / files[0], one, examples, expected)
        found.check(f"{one} of bundle {bundle.spec.name!r}")
        done.append(Exported(format=one, files=files, version=version, parity=found))
    return done


def describe_contract(bundle: ModelBundle, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """What a program must know to use an exported network rightly."""
    spec = bundle.spec
    return {
        "schema": "geoseg/export/1",
        "bundle": spec.name,
        "version": spec.version,
        "bundle_sha256": bundle.sha256,
        "architecture": spec.architecture,
        "licence": spec.licence,
        "input": {"name": INPUT, "shape": list(shape), "order": "tile, band, row, column", "dtype": "float32"},
        "preprocessing": "x = (raw * scale + offset - mean) / std; x = 0 where a pixel was not observed",
        "bands": [band.model_dump() for band in spec.bands],
        "level": spec.level,
        "raw_dtype": spec.dtype,
        "gsd_m": spec.gsd_m,
        "output": {"name": OUTPUT, "meaning": f"softmax(logits / {spec.temperature}), one channel per class"},
        "classes": [one.model_dump() for one in spec.legend],
        "tile_origins_are_multiples_of": spec.divisor,
        "margin_px": spec.margin_tolerance,
        "margin_exact_px": spec.margin_exact,
    }


class _Probabilities(nn.Module):
    """Pixels in, probabilities out."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.softmax(self.network(pixels) / self.temperature, dim=1)


def _check_shape(bundle: ModelBundle, shape: tuple[int, int, int, int]) -> None:
    spec = bundle.spec
    for side in shape[2:]:
        if side % spec.divisor or side < spec.min_size:
            raise SettingsError(
                f"a tile of {side} pixels does not suit bundle {spec.name!r}: sides are multiples of {spec.divisor}, "
                f"at least {spec.min_size}"
            )


def _trace(network: nn.Module, bundle: ModelBundle, shape: tuple[int, int, int, int]) -> ExportedProgram:
    with _translated(bundle, "pt2"), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(network, (torch.zeros(shape),), strict=False)


class _translated:
    """Failures of the exporters, whose kinds are many, in one line."""

    def __init__(self, bundle: ModelBundle, one: Format) -> None:
        self.place = f"bundle {bundle.spec.name!r}: {bundle.spec.architecture} cannot be written as {one}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, BundleError | OSError):
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise BundleError(f"{self.place} ({reason}): choose another format") from error


_Written = tuple[tuple[str, ...], str]


def _write_pt2(program: ExportedProgram, folder: Path, contract: str) -> _Written:
    name = "model.pt2"
    torch.export.save(program, folder / name, extra_files={f"{METADATA}.json": contract})
    return (name,), f"torch.export of torch {torch.__version__.partition('+')[0]}"


def _write_onnx(program: ExportedProgram, folder: Path, contract: str) -> _Written:
    name = "model.onnx"
    written = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT], verbose=False
    )
    if written is None:
        raise BundleError("torch.onnx.export gave nothing: choose another format")
    written.model.metadata_props[METADATA] = contract
    written.save(folder / name, external_data=False)
    return (name,), f"ONNX opset {written.model.opset_imports.get('', OPSET)}"


def _write_openvino(program: ExportedProgram, folder: Path, contract: str) -> _Written:
    import openvino

    (example,) = (one for one in program.graph.nodes if one.op == "placeholder" and one.name == INPUT)
    model = openvino.convert_model(program, input=[list(example.meta["val"].shape)])
    model.inputs[0].set_names({INPUT})
    model.outputs[0].set_names({OUTPUT})
    model.set_rt_info(contract, METADATA)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return ("model.xml", "model.bin"), f"OpenVINO IR of openvino {openvino.__version__.split('-')[0]}"


_WRITERS: Final[Mapping[Format, Callable[[ExportedProgram, Path, str], _Written]]] = {
    "onnx": _write_onnx,
    "pt2": _write_pt2,
    "openvino": _write_openvino,
}
