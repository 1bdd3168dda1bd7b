"""Remote scenes: what a server gives reads as the file itself, once; who may be asked; what is said on failure."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from geoseg.errors import NetworkError, SceneError
from geoseg.raster.remote import Address, RemoteAccess
from geoseg.raster.remote_file import CHUNK
from geoseg.raster.remote_files import RemoteFiles, remote_access
from geoseg.raster.remote_http import _is_public
from geoseg.raster.scene import SceneOptions, open_scene
from tests.raster.factory import Layout, NodataKind, make_raster
from tests.raster.remote_server import LOOPBACK, Served, read


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


def test_a_proxy_of_the_environment_is_used(tmp_path: Path, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked to connect, with its user, and hears nothing of the address but the host."""
    made = make_raster(tmp_path / "a.tif")
    server.files["/a.tif"] = made.path
    heard: list[str] = []
    proxy = socket.create_server(("127.0.0.1", 0))

    def carry() -> None:
        inner, _ = proxy.accept()
        while not "".join(heard).endswith("\r\n\r\n"):
            heard.append(inner.recv(1).decode())
        outer = socket.create_connection(("127.0.0.1", server.port))
        inner.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=copy, args=(outer, inner), daemon=True)
        back.start()
        copy(inner, outer)
        outer.shutdown(socket.SHUT_WR)
        back.join()

    def copy(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(9999):
            target.sendall(data)

    threading.Thread(target=carry, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    with remote_access(RemoteAccess(hosts=("example.test",), tries=1, timeout_s=5, connections=1)):
        assert np.array_equal(read(open_scene("http://example.test/a.tif?sig=secret"))[0], made.pixels)
    assert "".join(heard).startswith("CONNECT example.test:80 HTTP/1")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in "".join(heard)
    assert "secret" not in "".join(heard)
    proxy.close()


def test_private_networks_are_not_public() -> None:
    plain = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "224.0.0.1", "0.0.0.0", "::1", "fc00::1"]
    carried = [
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::101:101",
        "::127.0.0.1",
        "::1.1.1.1",
        "2002:7f00:1::",
        "fe80::1%eth0",
        "x",
    ]
    assert not any(map(_is_public, plain + carried))
    assert all(map(_is_public, ("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101")))


def test_addresses_are_written_without_their_secrets() -> None:
    address, query = Address.parse("https://Example.com:443/a b/ü.tif?X-Amz-Signature=1#x")
    assert (address.uri, query, address.name) == ("https://example.com/a%20b/%C3%BC.tif", "X-Amz-Signature=1", "ü.tif")
    assert Address.parse("s3://bucket/a b#c/d.tif")[0].path == "a b#c/d.tif"
    for bad in ("https://u:secret@h/x", "ftp://h/x?secret", "https:///x?secret", "s3://bu cket/x", "https://h\n/x"):
        with pytest.raises(SceneError) as caught:
            Address.parse(bad)
        assert "secret" not in str(caught.value)


def test_an_address_named_twice_with_different_queries_is_refused() -> None:
    files = RemoteFiles(RemoteAccess(hosts=("h",)))
    files.adopt("https://h/get?id=1")
    with pytest.raises(SceneError, match="https://h/get is named twice with different queries"):
        files.adopt("https://h/get?id=2")


def test_a_mask_may_be_remote_and_a_sidecar_of_a_signed_scene_is_said(
    tmp_path: Path, server: Served, remote: RemoteFiles
) -> None:
    made = make_raster(tmp_path / "a.tif", (90, 70))
    mask = make_raster(tmp_path / "m.tif", (90, 70), bands=1, dtype="uint8")
    server.files = {"/a.tif": made.path, "/m.tif": mask.path}
    scene = open_scene(f"{server.url}/a.tif?sig=1", options=SceneOptions(mask=f"{server.url}/m.tif"))
    assert read(scene)[1].all()
    assert any("a.tif.msk: whether it is there cannot be told" in note for note in scene.notes)
