"""Archives in buckets and behind signed addresses: what local ones give, through every failure, and no secret kept."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from geoseg.batch.job import read_job
from geoseg.batch.manifest import identify, read_manifest
from geoseg.batch.place import Place
from geoseg.batch.plan import BatchRequest, Planned, plan_batch
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.scene_work import run_scene
from geoseg.batch.status import read_failures
from geoseg.cli.batch import batch
from geoseg.config import ClusterSection, Config, RemoteSection
from geoseg.errors import NetworkError, SceneError
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from tests.batch.test_batch import Quiet, pipeline, pixels, tickets
from tests.model.bundles import tiny_bundle
from tests.raster.remote_server import KEY, SECRET, Served, serve
from tests.workflows.test_segment import write_scene

SIGNATURE = "sEcReT-signature"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Three scenes and a note under s3://bucket/archive; the same files here."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    folder = tmp_path / "archive"
    folder.mkdir()
    with serve(s3=True) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        for k in range(3):
            path = folder / f"s{k}.tif"
            write_scene(path, height=90 + 7 * k, width=120, seed=k)
            server.files[f"/bucket/archive/{k}/{path.name}"] = path
        server.files["/bucket/archive/note.txt"] = b"x"
        server.files["/bucket/archived.tif"] = b"x"
        tiny_bundle(tmp_path / "bundle")
        yield server


@pytest.fixture
def signed(bucket: Served) -> Served:
    """The same server as one of signed addresses."""
    bucket.s3, bucket.signatures = False, {SIGNATURE}
    return bucket


def config(**remote: Any) -> Config:
    patience = ClusterSection(backoff_s=0.01)
    return Config(threads=1, cluster=patience, remote=RemoteSection(**{"tries": 1, "timeout_s": 5.0, **remote}))


def plan(source: str, out: Path, tmp_path: Path, *, hosts: tuple[str, ...], **remote: Any) -> Planned:
    request = BatchRequest(
        source=source, pipeline=pipeline(tmp_path / "archive"), config=config(**remote), allow_remote=hosts
    )
    return plan_batch(request, out)


def run(out: Path, retry: Any = None, **remote: Any) -> dict[str, int]:
    summary = run_batch(out, RunOptions(config=config(**remote), retry=retry), Quiet())
    return {state: count for state, count in summary.counts.items() if count}


def made(out: Path) -> dict[str, tuple[Any, Any]]:
    """By the scene's name: (pixels, areas)."""
    found = {}
    for entry in read_manifest(Place(out=out)):
        folder = Place(out=out).scene(entry.scene)
        if (folder / "run.json").exists():
            areas = json.loads((folder / "areas.json").read_text())
            found[entry.uri.rpartition("/")[2]] = pixels(folder / "classes.tif"), areas
    return found


def check_same(out: Path, there: dict[str, tuple[Any, Any]]) -> None:
    here = made(out)
    assert here.keys() == there.keys()
    for name, (classes, areas) in here.items():
        assert np.array_equal(classes, there[name][0])
        assert areas == there[name][1]


def holders(folder: Path, secret: str) -> set[str]:
    """Names of the files below a folder that hold a text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.name for path in files if secret.encode() in path.read_bytes()}


def of_here(tmp_path: Path) -> dict[str, tuple[Any, Any]]:
    """The same of single runs of the files here."""
    found = {}
    for path in sorted((tmp_path / "archive").iterdir()):
        folder = tmp_path / "here" / path.stem
        segment(plan_scene(Request(source=str(path), pipeline=pipeline(path.parent), config=config())), folder)
        found[path.name] = pixels(folder / "classes.tif"), json.loads((folder / "areas.json").read_text())
    return found


def test_a_bucket_gives_what_the_files_give(tmp_path: Path, bucket: Served) -> None:
    """Requests break on the way: once, and the ledger's policy tries again; for good, until the scene is retried."""
    out = tmp_path / "out"
    planned = plan("s3://bucket/archive", out, tmp_path, hosts=("bucket",))
    assert (planned.job.scenes, planned.job.allow_remote, planned.job.source) == (3, ("bucket",), "s3://bucket/archive")
    entries = list(read_manifest(Place(out=out)))
    assert [one.uri for one in entries] == [f"s3://bucket/archive/{k}/s{k}.tif" for k in range(3)]
    assert [one.size for one in entries] == [(tmp_path / "archive" / f"s{k}.tif").stat().st_size for k in range(3)]
    assert len(bucket.log) == 1, "sizes and ETags come with the listing"
    once = ["500"]

    def fault(path: str, start: int) -> str | None:
        if path.endswith("s0.tif") and start and once:
            return once.pop()
        return "cut" if path.endswith("s1.tif") and start else None

    bucket.fault = fault
    assert run(out) == {"done": 2, "failed": 1}
    (failure,) = read_failures(out)
    assert (failure["error_code"], failure["attempts"]) == ("network", 3)
    assert failure["error"].startswith("s3://bucket/archive/1/s1.tif: the answer was cut off")
    assert once == []
    bucket.fault = lambda path, start: None
    assert run(out, retry="failed") == {"done": 3}
    check_same(out, of_here(tmp_path))
    assert holders(out, SECRET) == set()
    bucket.log.clear()
    assert run(out) == {"done": 3}
    assert bucket.log == []


def test_a_remote_scene_that_changed_or_is_gone_fails(tmp_path: Path, bucket: Served) -> None:
    out = tmp_path / "out"
    plan("s3://bucket/archive", out, tmp_path, hosts=("bucket",))
    bucket.files["/bucket/archive/0/s0.tif"] = bucket.files["/bucket/archive/1/s1.tif"]
    del bucket.files["/bucket/archive/2/s2.tif"]
    found = tickets(out)
    with pytest.raises(SceneError, match="has changed since the batch was planned"):
        run_scene(out, found["s0"], config())
    with pytest.raises(SceneError, match=r"^s3://bucket/archive/2/s2.tif is refused by its server \(HTTP 404 N"):
        run_scene(out, found["s2"], config())


def test_signed_addresses_leave_no_secret(tmp_path: Path, signed: Served) -> None:
    """Their signatures are in one file, for its owner alone; a newer list renews them."""
    out, listing = tmp_path / "out", tmp_path / "list.txt"
    names = [name for name in signed.files if name.endswith(("s0.tif", "s1.tif", "s2.tif"))]
    write_list(listing, signed, names, SIGNATURE)
    plan(str(listing), out, tmp_path, hosts=("127.0.0.1",))
    assert [one.uri for one in read_manifest(Place(out=out))] == [signed.url + name for name in names]
    assert [one.scene for one in read_manifest(Place(out=out))] == [identify(signed.url + name) for name in names]
    signed.signatures = {"newer-" + SIGNATURE}
    for ticket in tickets(out).values():
        with pytest.raises(SceneError, match="a signature may have expired"):
            run_scene(out, ticket, config())
    write_list(listing, signed, names, "newer-" + SIGNATURE)
    assert not plan(str(listing), out, tmp_path, hosts=("127.0.0.1",)).is_new
    assert run(out) == {"done": 3}
    check_same(out, of_here(tmp_path))
    assert holders(out, SIGNATURE) == {"signatures.json"}
    assert stat.S_IMODE((out / "signatures.json").stat().st_mode) == 0o600


def write_list(path: Path, server: Served, names: list[str], signature: str) -> None:
    path.write_text("".join(f"{server.url}{name}?sig={signature}\n" for name in names))


def test_a_signing_service_is_asked_by_the_worker(tmp_path: Path, signed: Served) -> None:
    """A STAC search behind an address, in two pages; its items are signed when their turn comes."""
    good = ["s0"]

    def sign(query: str) -> bytes:
        good.append(f"{SIGNATURE}{len(good)}")
        signed.signatures = {good[-1]}  # the one before has expired
        href = query.partition("href=")[2].replace("%3A", ":").replace("%2F", "/")
        return json.dumps({"href": f"{href}?sig={good[-1]}"}).encode()

    def search(query: str) -> bytes:
        page = int(query.partition("page=")[2] or 0)
        asset = {"href": f"../bucket/archive/{page}/s{page}.tif", "roles": ["data"], "type": "image/tiff"}
        links = [{"rel": "next", "href": f"?page={page + 1}"}] if page < 2 else []
        item = {"type": "Feature", "id": str(page), "assets": {"a": asset}}
        return json.dumps({"type": "FeatureCollection", "features": [item], "links": links}).encode()

    signed.answers = {"/sign": sign, "/stac/search": search}
    out, service = tmp_path / "out", f"{signed.url}/sign?href={{href}}"
    source = f"{signed.url}/stac/search?limit=1"
    plan(source, out, tmp_path, hosts=("127.0.0.1",), sign_url=service)
    assert [one.uri[-6:] for one in read_manifest(Place(out=out))] == ["s0.tif", "s1.tif", "s2.tif"]
    for ticket in tickets(out).values():
        run_scene(out, ticket, config(sign_url=service))
    check_same(out, of_here(tmp_path))
    assert holders(out, SIGNATURE) == set()


def test_an_item_of_several_signed_files_is_one_scene(tmp_path: Path, signed: Served) -> None:
    rasters = {f"/item/B0{k}.tif": tmp_path / "archive" / f"s{k}.tif" for k in (0, 1)}
    signed.files.update(rasters)
    assets = {name: {"href": f"{signed.url}{name}?sig={SIGNATURE}", "roles": ["data"]} for name in rasters}
    item = tmp_path / "item.json"
    item.write_text(json.dumps({"type": "Feature", "id": "x", "assets": assets}))
    out = tmp_path / "out"
    plan(str(item), out, tmp_path, hosts=("127.0.0.1",))
    (one,) = read_manifest(Place(out=out))
    assert Path(one.uri).read_text().split() == [signed.url + name for name in rasters]
    assert one.size == sum(path.stat().st_size for path in rasters.values())
    assert holders(out, SIGNATURE) == {"signatures.json"}


def test_what_is_not_allowed_is_not_planned(tmp_path: Path, bucket: Served) -> None:
    out = tmp_path / "out"
    for hosts in ((), ("other",)):
        with pytest.raises(SceneError, match="s3://bucket/archive is remote: pass --allow-remote=bucket"):
            plan("s3://bucket/archive", out, tmp_path, hosts=hosts)
    document = {"type": "Collection", "links": [{"rel": "item", "href": "file:///etc/passwd"}]}
    bucket.s3, bucket.answers["/c.json"] = False, lambda query: json.dumps(document).encode()
    with pytest.raises(SceneError, match="may not name files of this machine"):
        plan(f"{bucket.url}/c.json", out, tmp_path, hosts=("127.0.0.1",))
    bucket.fault = lambda path, start: "503"
    with pytest.raises(NetworkError, match="HTTP 503 SlowDown: try again later"):
        plan(f"{bucket.url}/c.json", out, tmp_path, hosts=("127.0.0.1",))
    assert not out.exists()


def test_the_command_line_keeps_no_secret(tmp_path: Path, signed: Served) -> None:
    """--allow-remote takes no word for its host, and neither message nor batch.json has a query."""
    source = f"{signed.url}/bucket/archive/0/s0.tif?sig={SIGNATURE}"
    content = pipeline(tmp_path / "archive").model_dump_json()
    (tmp_path / "p.yaml").write_text(content)
    out = tmp_path / "out"
    words = ["plan", "--pipeline", str(tmp_path / "p.yaml"), "--allow-remote"]
    refused = CliRunner().invoke(batch, [*words, source, str(out)])
    assert isinstance(refused.exception, SceneError)
    assert "is not encrypted" in str(refused.exception)
    done = CliRunner().invoke(batch, [*words[:-1], "--allow-remote=127.0.0.1", source, str(out)])
    assert done.exit_code == 0, done.output
    assert read_job(out).allow_remote == ("127.0.0.1",)
    assert read_job(out).source == source.partition("?")[0]
    assert SIGNATURE not in done.output + refused.output + str(refused.exception)
    assert holders(out, SIGNATURE) == {"signatures.json"}
