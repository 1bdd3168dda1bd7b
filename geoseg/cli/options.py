"""Options that several verbs share, and their parsing."""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from geoseg.pipeline import Pipeline
    from geoseg.raster.remote_files import RemoteFiles
    from geoseg.workflows.plan import ScenePlan
    from geoseg.workflows.zones import ZoneFile

Command = Callable[..., Any]
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def _stacked(options: Sequence[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


pipeline_options = _stacked(
    [
        click.option("--pipeline", default="forest", show_default=True, help="A shipped pipeline or a YAML file."),
        click.option("--model", help="A shipped bundle or a bundle folder, instead of the pipeline's."),
        click.option("--bands", help="Common names of bands: red=1,green=2,blue=3 (number, description or file)."),
        click.option(
            "--radiometry",
            type=click.Choice(["toa", "surface", "display8"]),
            help="What the pixel values mean, where the file does not say.",
        ),
        click.option("--definition", help="What the map is brought to: a shipped definition (fao) or a YAML file."),
        click.option("--set", "overrides", multiple=True, metavar="K=V", help="Override a pipeline key."),
    ]
)
config_options = _stacked(
    [
        click.option("--config", "config_name", default="laptop", show_default=True, help="How to run here."),
        click.option("--set-config", "config_overrides", multiple=True, metavar="K=V", help="Override a config key."),
    ]
)
scene_options = _stacked(
    [
        click.option("--mask", help="A raster on the scene's grid: 0 = excluded."),
        click.option("--allow-large", is_flag=True, help="Accept a file that unpacks to over 200 times its size."),
    ]
)
remote_option = click.option(
    "--allow-remote",
    multiple=True,
    metavar="[=HOST]",
    help="Read s3:// and https:// addresses: of this host or bucket alone, or any with a public address.",
)
zone_options = _stacked(
    [
        click.option("--zones", type=click.Path(path_type=Path), help="Polygons: areas by zone, partial pixels exact."),
        click.option("--zone-field", metavar="NAME", help="The column of --zones that names them."),
        click.option("--zone-layer", metavar="NAME", help="The layer of --zones, where it has several of polygons."),
    ]
)
aoi_options = _stacked(
    [
        click.option(
            "--aoi", type=click.Path(path_type=Path), help="Polygons: only what lies in them is mapped and counted."
        ),
        click.option("--aoi-layer", metavar="NAME", help="The layer of --aoi, where it has several of polygons."),
    ]
)
products_option = click.option("--products", help="classes,confidence,areas,polygons,report: what to leave in OUT.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the product that OUT holds.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
progress_option = click.option("--quiet", is_flag=True, help="No progress and no notes but warnings.")


class LocalPath(click.Path):
    """Where to write: on this machine; an address is refused, not taken for a folder of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if found := _ADDRESS.match(str(value)):
            self.fail(
                f"{found[1]}:… is an address, and results are files of this machine: give a folder here", param, ctx
            )
        return super().convert(value, param, ctx)


class RemoteCommand(click.Command):
    """A command with --allow-remote, which takes a host after = alone, never the next word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the words apart."""
        return super().parse_args(ctx, ["--allow-remote=*" if word == "--allow-remote" else word for word in args])


def remote_of(chosen: dict[str, Any]) -> "AbstractContextManager[RemoteFiles]":
    """Takes --allow-remote out of the arguments of a command; within it addresses are read as allowed."""
    from geoseg.presets import load_config
    from geoseg.raster.remote import RemoteAccess
    from geoseg.raster.remote_files import remote_access

    config = load_config(chosen.get("config_name", "laptop"), overrides=chosen.get("config_overrides", ()))
    return remote_access(RemoteAccess.of(chosen.pop("allow_remote"), config.remote))


def parse_bands(text: str | None) -> dict[str, str]:
    """`red=1,green=2` as {common name: number, description or file}.

    Raises:
        click.BadParameter: a part is not NAME=VALUE, or a name comes twice.
    """
    bands: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise click.BadParameter(f"{part!r} is not NAME=BAND, such as red=1,green=2", param_hint="--bands")
        if name.strip() in bands:
            raise click.BadParameter(f"{name.strip()} is named twice", param_hint="--bands")
        bands[name.strip()] = value.strip()
    return bands


def zones_of(chosen: dict[str, Any]) -> "ZoneFile | None":
    """Takes --zones, --zone-field and --zone-layer out of the arguments of a command.

    Raises:
        click.BadParameter: a field or layer of no zones.
    """
    zones, field, layer = (chosen.pop(key, None) for key in ("zones", "zone_field", "zone_layer"))
    if zones is None and (field or layer):
        hint = "--zone-field" if field else "--zone-layer"
        raise click.BadParameter(f"{field or layer!r} is of no file: give --zones", param_hint=hint)
    if zones is None:
        return None
    from geoseg.workflows.zones import ZoneFile

    return ZoneFile(path=zones, field=field, layer=layer)


def resolve_pipeline(
    name: str,
    overrides: Sequence[str],
    *,
    model: str | None = None,
    bands: str | None = None,
    radiometry: str | None = None,
    definition: str | None = None,
    products: str | None = None,
) -> "Pipeline":
    """The pipeline that the options describe: a named one, then the flags and --set."""
    from geoseg.presets import load_definition, load_pipeline

    flags = [*overrides]
    if definition:  # before --set, which may change a key of it
        content = load_definition(definition).model_dump(mode="json")
        flags.insert(0, f"definition={json.dumps(content, ensure_ascii=False)}")
    named = parse_bands(bands)
    if model:
        flags.append(f"model={json.dumps(model, ensure_ascii=False)}")
    if named:
        flags.append(f"scene.bands={json.dumps(named, ensure_ascii=False)}")
    if radiometry:
        flags.append(f"scene.level={radiometry}")
    if products:
        flags.append(f"products=[{products}]")
    return load_pipeline(name, overrides=flags)


def plan_of(
    *,
    scene: str,
    pipeline: str,
    model: str | None,
    bands: str | None,
    radiometry: str | None,
    definition: str | None,
    overrides: tuple[str, ...],
    config_name: str,
    config_overrides: tuple[str, ...],
    products: str | None = None,
    **inputs: Any,
) -> "ScenePlan":
    """The plan that the options describe; arguments are named as the options, `inputs` as the keys of a Request."""
    if inputs.get("aoi_layer") and inputs.get("aoi") is None:
        raise click.BadParameter(f"{inputs['aoi_layer']!r} is of no file: give --aoi", param_hint="--aoi-layer")
    zones = zones_of(inputs)
    resolved = resolve_pipeline(
        pipeline,
        overrides,
        model=model,
        bands=bands,
        radiometry=radiometry,
        definition=definition,
        products=products,
    )
    from geoseg.presets import load_config
    from geoseg.raster.remote_files import adopt
    from geoseg.workflows.plan import Request, plan_scene

    config = load_config(config_name, overrides=config_overrides)
    return plan_scene(Request(source=adopt(scene), pipeline=resolved, config=config, zones=zones, **inputs))
