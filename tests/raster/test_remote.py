"""Remote scenes: what a server gives reads as the file itself, once; who may be asked; what is said on failure."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.core.window import Window
from geoseg.errors import NetworkError, SceneError
from geoseg.raster.remote import Address, RemoteAccess, redact
from geoseg.raster.remote_client import RemoteClient
from geoseg.raster.remote_file import CHUNK
from geoseg.raster.remote_files import RemoteFiles, remote_access
from geoseg.raster.remote_http import _is_public
from geoseg.raster.remote_s3 import Credentials, canonical_query, find_endpoint, sign
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene, SceneOptions, SceneReader, open_scene
from tests.raster.factory import Layout, NodataKind, make_raster
from tests.raster.remote_server import KEY, SECRET, Served, serve

LOOPBACK = RemoteAccess(hosts=("127.0.0.1", "bucket"), timeout_s=5, tries=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A plain server; between tries nobody waits."""
    monkeypatch.setattr("geoseg.raster.remote_client.time.sleep", lambda seconds: None)
    with serve() as served:
        yield served


@pytest.fixture
def bucket(server: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The same as an S3 of the user's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {"ENDPOINT_URL": server.url, "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    server.s3 = True
    return server


@pytest.fixture
def remote() -> Iterator[RemoteFiles]:
    with remote_access(LOOPBACK) as files:
        yield files


def read(scene: Scene, *, panel: int = 512) -> tuple[Any, Any]:
    height, width = scene.grid.shape
    pixels = np.zeros((len(scene.bands), height, width), scene.dtype)
    valid = np.zeros((height, width), bool)
    with raster_env(threads=4), SceneReader(scene) as reader:
        for col in range(0, width, panel):
            reader.start_panel(col, min(col + panel, width))
            for row in range(0, height, 40):
                window = Window(row=row, col=col, height=min(40, height - row), width=min(panel, width - col))
                patch = reader.read(window)
                pixels[:, row : window.row_stop, col : window.col_stop] = patch.pixels
                valid[row : window.row_stop, col : window.col_stop] = patch.valid
    return pixels, valid


@pytest.mark.parametrize("layout", ["tiled", "strips", "tall strips", "one strip"])
@pytest.mark.parametrize("nodata", ["none", "value", "mask", "alpha", "msk"])
def test_a_remote_scene_reads_as_the_file(
    tmp_path: Path, server: Served, remote: RemoteFiles, layout: Layout, nodata: NodataKind
) -> None:
    made = make_raster(tmp_path / "scene.tif", layout=layout, nodata=nodata)
    server.files = {f"/a/{path.name}": path for path in tmp_path.iterdir()}
    scene = open_scene(f"{server.url}/a/scene.tif")
    pixels, valid = read(scene, panel=64)
    assert np.array_equal(valid, made.valid)
    assert np.array_equal(pixels[:, valid], made.pixels[:, valid])
    assert scene.grid == open_scene(made.path).grid


def test_jpeg_2000_is_read_whole_by_several_threads(test_data: Path, server: Served, remote: RemoteFiles) -> None:
    """Its driver opens the file again in threads of its own, and reads zeros there without a word."""
    path = test_data / "edge_cases" / "rasterframes" / "B01.jp2"
    server.files["/B01.jp2"] = path
    here, there = (read(open_scene(one), panel=512) for one in (path, f"{server.url}/B01.jp2"))
    assert np.array_equal(here[0], there[0])
    assert np.array_equal(here[1], there[1])
    assert server.fetched("/B01.jp2") < 1.1 * path.stat().st_size


def test_a_file_is_fetched_about_once(tmp_path: Path, server: Served, remote: RemoteFiles) -> None:
    path = make_raster(tmp_path / "scene.tif", (1500, 1400), layout="tiled").path
    server.files["/scene.tif"] = path
    scene = open_scene(f"{server.url}/scene.tif")
    read(scene, panel=512)
    assert path.stat().st_size > 20 * CHUNK
    assert server.fetched("/scene.tif") < 1.3 * path.stat().st_size
    assert len(server.log) < 60


@pytest.mark.parametrize("what", ["500", "503", "429", "cut"])
def test_an_error_that_passes_is_tried_again(tmp_path: Path, server: Served, remote: RemoteFiles, what: str) -> None:
    made = make_raster(tmp_path / "scene.tif", (400, 400))
    server.files["/scene.tif"] = made.path
    scene = open_scene(f"{server.url}/scene.tif")
    server.once(what, beyond=1)
    assert np.array_equal(read(scene)[0], made.pixels)


@pytest.mark.parametrize("what", ["500", "cut"])
def test_a_server_that_stays_broken_is_the_networks_fault(
    tmp_path: Path, server: Served, remote: RemoteFiles, what: str
) -> None:
    server.files["/scene.tif"] = make_raster(tmp_path / "scene.tif", (400, 400), nodata="mask").path
    scene = open_scene(f"{server.url}/scene.tif?sig=secret")
    server.fault = lambda path, start: what if start else None
    with pytest.raises(NetworkError, match=r"^http://127.0.0.1:\d+/scene.tif: ") as caught:
        read(scene)
    assert "secret" not in str(caught.value)


def test_a_mask_that_cannot_be_fetched_is_not_a_file_without(
    tmp_path: Path, server: Served, remote: RemoteFiles
) -> None:
    """GDAL takes a directory that it cannot read for the end of the file."""
    path = make_raster(tmp_path / "scene.tif", (400, 400), nodata="mask").path
    server.files["/scene.tif"] = path
    server.fault = lambda name, start: "500" if start > CHUNK else None
    with pytest.raises(NetworkError):
        read(open_scene(f"{server.url}/scene.tif"))


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, server: Served) -> None:
    for etags in (True, False):
        made = make_raster(tmp_path / "scene.tif", (400, 400))
        server.files["/scene.tif"], server.etags = made.path, etags
        with remote_access(LOOPBACK):
            scene = open_scene(f"{server.url}/scene.tif")
            if etags:
                server.files["/scene.tif"] = make_raster(tmp_path / "other.tif", (400, 400), dtype="uint8").path
            else:
                server.files["/scene.tif"], server.etags = made.path, True
            with pytest.raises(SceneError, match="has changed since it was looked at: run again"):
                read(scene)


def test_the_fingerprint_is_of_size_and_etag(tmp_path: Path, server: Served) -> None:
    made = make_raster(tmp_path / "scene.tif")
    found = []
    for name, query in (("/a/scene.tif", "?sig=1"), ("/b/scene.tif", ""), ("/b/scene.tif", "?sig=2")):
        server.files[name] = made.path
        with remote_access(LOOPBACK):
            found.append(open_scene(server.url + name + query).fingerprint)
    made = make_raster(tmp_path / "scene.tif", dtype="int16")
    with remote_access(LOOPBACK):
        found.append(open_scene(f"{server.url}/a/scene.tif").fingerprint)
    assert len(set(found[:3])) == 1
    assert found[3] != found[0]


def test_refusals_have_a_remedy_and_no_secret(tmp_path: Path, server: Served, remote: RemoteFiles) -> None:
    server.files = {"/a.tif": make_raster(tmp_path / "a.tif").path, "/a.txt": b"hello", "/empty.tif": b""}
    server.files["/vrt.tif"] = b"<VRTDataset rasterXSize='1'/>"
    cases = {
        "/b.tif": r"refused by its server \(HTTP 404 NoSuchKey\): check the address",
        "/a.txt": "neither GeoTIFF nor JPEG 2000",
        "/empty.tif": "is empty",
        "/vrt.tif": "is a VRT",
    }
    for path, message in cases.items():
        with pytest.raises(SceneError, match=message) as caught:
            open_scene(f"{server.url}{path}?sig=secret")
        assert "secret" not in str(caught.value)
    server.ranges = False
    with pytest.raises(SceneError, match="gives no parts of files"):
        open_scene(f"{server.url}/a.tif?x=1")


def test_a_signature_that_expired_is_refused_with_the_remedy(tmp_path: Path, server: Served) -> None:
    server.files["/a.tif"], server.signatures = make_raster(tmp_path / "a.tif").path, {"old"}
    with remote_access(LOOPBACK):
        open_scene(f"{server.url}/a.tif?sig=old")
    server.signatures = {"new"}
    with remote_access(LOOPBACK), pytest.raises(SceneError, match=r"HTTP 403\): a signature may have expired"):
        open_scene(f"{server.url}/a.tif?sig=old")


def test_a_signing_service_is_asked_again_when_its_signature_expires(tmp_path: Path, server: Served) -> None:
    made = make_raster(tmp_path / "a.tif", (400, 400))
    server.files["/a.tif"], server.signatures = made.path, {"s0"}

    def answer(query: str) -> bytes:
        return f'{{"href": "{server.url}/a.tif?sig={min(server.signatures or ())}", "asked": "{query}"}}'.encode()

    server.answers["/sign"] = answer
    access = RemoteAccess(hosts=("127.0.0.1",), sign_url=f"{server.url}/sign?href={{href}}", tries=1)
    with remote_access(access):
        scene = open_scene(f"{server.url}/a.tif")
        server.signatures = {"s1"}
        assert np.array_equal(read(scene)[0], made.pixels)
    with remote_access(access):  # also in place of a signature that came with the address
        assert np.array_equal(read(open_scene(f"{server.url}/a.tif?sig=old"))[0], made.pixels)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("file:///etc/passwd", "cannot be read"),
        ("http://localhost:{port}/a.tif", "is not https"),
        ("https://169.254.169.254/latest", "is remote: pass --allow-remote=169.254.169.254"),
        ("s3://bucket/key", "is not https"),
        ("/loop.tif", "redirected more than 5 times"),
    ],
)
def test_redirects_stay_within_what_is_allowed(server: Served, remote: RemoteFiles, there: str, message: str) -> None:
    server.redirects["/loop.tif"] = there.format(port=server.port)
    with pytest.raises(SceneError, match=message):
        open_scene(f"{server.url}/loop.tif")


def test_a_redirect_within_the_host_is_followed(tmp_path: Path, server: Served, remote: RemoteFiles) -> None:
    made = make_raster(tmp_path / "a.tif", (400, 400))
    server.files["/b/a.tif"] = made.path
    server.redirects["/a.tif"] = "/b/a.tif?sig=x"
    assert np.array_equal(read(open_scene(f"{server.url}/a.tif"))[0], made.pixels)
    assert sum(path == "/a.tif" for path, *_ in server.log) == 1


def test_only_what_is_allowed_is_asked(server: Served) -> None:
    address = f"{server.url}/a.tif?sig=secret"
    for hosts, message in (
        ((), r"is remote: pass --allow-remote=127.0.0.1:\d+ to read it"),
        (("example.com",), "is remote: pass"),
        (("*",), "is not encrypted: give its https address"),
    ):
        with remote_access(RemoteAccess(hosts=hosts)), pytest.raises(SceneError, match=message) as caught:
            open_scene(address)
        assert "secret" not in str(caught.value)
    with remote_access(RemoteAccess(hosts=("*",))), pytest.raises(SceneError, match="is on a private network"):
        open_scene(f"https://127.0.0.1:{server.port}/a.tif")
    with remote_access(RemoteAccess(hosts=("*",))), pytest.raises(SceneError, match=r"private network \(127.0.0.1\)"):
        open_scene(f"https://localhost:{server.port}/a.tif")
    assert server.log == []


def test_private_networks_are_not_public() -> None:
    private = ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0", "x")
    assert not any(map(_is_public, private))
    assert all(map(_is_public, ("1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1")))


def test_addresses_are_written_without_their_secrets() -> None:
    address, query = Address.parse("https://Example.com:443/a b/ü.tif?X-Amz-Signature=1#x")
    assert (address.uri, query, address.name) == ("https://example.com/a%20b/%C3%BC.tif", "X-Amz-Signature=1", "ü.tif")
    assert Address.parse("s3://bucket/a b#c/d.tif")[0].path == "a b#c/d.tif"
    for bad in ("https://u:secret@h/x", "ftp://h/x?secret", "https:///x?secret", "s3://bu cket/x", "https://h\n/x"):
        with pytest.raises(SceneError) as caught:
            Address.parse(bad)
        assert "secret" not in str(caught.value)
    assert redact("run https://u:p@h/a?b s3://x/y --x=https://h/z?q=1#f") == "run https://h/a s3://x/y --x=https://h/z"


def test_an_address_named_twice_with_different_queries_is_refused() -> None:
    files = RemoteFiles(RemoteAccess(hosts=("h",)))
    files.adopt("https://h/get?id=1")
    with pytest.raises(SceneError, match="https://h/get is named twice with different queries"):
        files.adopt("https://h/get?id=2")


EXAMPLE = Credentials(key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("path", "query", "headers", "signature"),
    [
        (
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/",
            {"prefix": "J", "max-keys": "2"},
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_specification(
    path: str, query: dict[str, str], headers: dict[str, str], signature: str
) -> None:
    """The examples of Amazon S3's API reference, "Signature Calculations for the Authorization Header"."""
    named = {"host": "examplebucket.s3.amazonaws.com", **headers}
    now = datetime(2013, 5, 24, tzinfo=UTC)
    signed = sign(path, canonical_query(query), named, credentials=EXAMPLE, region="us-east-1", now=now)
    assert signed["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize("key", ["scene.tif", "a b/ü+&=:@#%20.tif", "x/(1)*'~!$.tif"])
def test_a_scene_in_a_bucket_is_read(tmp_path: Path, bucket: Served, remote: RemoteFiles, key: str) -> None:
    made = make_raster(tmp_path / "scene.tif")
    bucket.files[f"/bucket/{key}"] = made.path
    assert np.array_equal(read(open_scene(f"s3://bucket/{key}"))[0], made.pixels)


def test_a_folder_of_bands_in_a_bucket_is_a_scene(tmp_path: Path, bucket: Served, remote: RemoteFiles) -> None:
    for name in ("B02.tif", "B03.tif", "deeper/B04.tif", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        make_raster(path, bands=1, seed=int(name[-5]) if name[-5].isdigit() else 0)
        bucket.files[f"/bucket/S2A_x/{name}"] = path
    there = open_scene("s3://bucket/S2A_x/")
    assert (there.name, [band.name for band in there.bands]) == ("S2A_x", ["blue", "green"])
    assert np.array_equal(read(there)[0], read(open_scene(tmp_path))[0])
    with pytest.raises(SceneError, match="empty has no GeoTIFF or JPEG 2000 file in it"):
        open_scene("s3://bucket/empty/")


def test_wrong_credentials_are_refused_with_their_code(
    tmp_path: Path, bucket: Served, remote: RemoteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.files["/bucket/a.tif"] = make_raster(tmp_path / "a.tif").path
    for name, value, code in (
        ("AWS_SECRET_ACCESS_KEY", "wrong", "HTTP 403 SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "wrong", "HTTP 403 InvalidAccessKeyId"),
        ("AWS_NO_SIGN_REQUEST", "YES", "HTTP 403 AccessDenied"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(SceneError, match=rf"s3://bucket/a.tif is refused by its server \({code}\): check the key"):
            open_scene("s3://bucket/a.tif")
    for name in ("AWS_NO_SIGN_REQUEST", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name)
    with pytest.raises(SceneError, match="there are no credentials for S3: set AWS_ACCESS_KEY_ID"):
        open_scene("s3://bucket/a.tif")


def test_a_profile_has_credentials(tmp_path: Path, bucket: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.files["/bucket/a.tif"] = make_raster(tmp_path / "a.tif").path
    profile = tmp_path / "credentials"
    profile.write_text(f"[mine]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    with remote_access(LOOPBACK):
        assert open_scene("s3://bucket/a.tif").name == "a.tif"


def test_a_long_listing_comes_in_pages(bucket: Served) -> None:
    names = [f"p/{k:05d} ü+&.tif" for k in range(2500)]
    bucket.files = {f"/bucket/{name}": b"x" for name in (*names, "q/other.tif")}
    client = RemoteClient(LOOPBACK)
    assert [one.key for one in client.list_keys("bucket", "p/")] == names
    assert len(bucket.log) == 3


def test_endpoints_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def place(bucket: str) -> str:
        found = find_endpoint(bucket, "eu-west-1")
        return f"{found.scheme}://{found.host}{found.path} {found.is_own}"

    assert place("b") == "https://b.s3.eu-west-1.amazonaws.com False"
    assert place("b.c") == "https://s3.eu-west-1.amazonaws.com/b.c False"
    monkeypatch.setenv("AWS_S3_ENDPOINT", "localhost:9000")
    monkeypatch.setenv("AWS_HTTPS", "NO")
    assert place("b") == "http://localhost:9000/b True"
    monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "TRUE")
    assert place("b") == "http://b.localhost:9000 True"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.org/x/")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    assert place("b") == "https://s3.example.org/x/b True"


def test_a_mask_may_be_remote_and_a_sidecar_of_a_signed_scene_is_said(
    tmp_path: Path, server: Served, remote: RemoteFiles
) -> None:
    made = make_raster(tmp_path / "a.tif", (90, 70))
    mask = make_raster(tmp_path / "m.tif", (90, 70), bands=1, dtype="uint8")
    server.files = {"/a.tif": made.path, "/m.tif": mask.path}
    scene = open_scene(f"{server.url}/a.tif?sig=1", options=SceneOptions(mask=f"{server.url}/m.tif"))
    assert read(scene)[1].all()
    assert any("a.tif.msk: whether it is there cannot be told" in note for note in scene.notes)
