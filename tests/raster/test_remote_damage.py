"""Remote scenes: what users, servers and files write wrongly costs a line, not a secret, the memory or the archive."""

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.config import RemoteSection
from geoseg.errors import NetworkError, SceneError, SettingsError
from geoseg.presets import load_config
from geoseg.raster.remote import Address, RemoteAccess, redact
from geoseg.raster.remote_client import RemoteClient
from geoseg.raster.remote_file import RemoteFile
from geoseg.raster.remote_files import RemoteFiles, remote_access
from geoseg.raster.remote_http import Target
from geoseg.raster.scene import open_scene
from tests.raster.factory import make_raster
from tests.raster.remote_server import LOOPBACK, Served, read


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--x=https://h/z?q=1#f", "--x=https://h/z"),
        ("https://u:p@h:8443/a?b", "https://h:8443/a"),
        ("https://u:se/cr@et@h/a", "https://h/a"),
        ("https://u:se?cr#et@h/a", "https://…"),
        ("https://h/a b.tif?x=1 &sig=secret", "https://h/a b.tif"),
        ("https://[::1]:8443/a?sig=secret", "https://[::1]:8443/a"),
        ("s3://bucket/2@2x/a b.tif", "s3://bucket/2@2x/a b.tif"),
        ("scene?.tif", "scene?.tif"),
    ],
)
def test_words_are_shown_without_secrets(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Example.ORG:8443", "example.org:8443"),
        ("LocalHost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("My_Bucket", "my_bucket"),
        ("0:0::1", "[::1]"),
        ("[0:0::1]:9000", "[::1]:9000"),
        ("*", "*"),
    ],
)
def test_an_allowed_host_is_written_as_in_addresses(given: str, kept: str) -> None:
    access = RemoteAccess.of((given,), RemoteSection())
    assert access.hosts == (kept,)
    if kept != "*":
        access.check(Address.parse(f"http://{kept}/a.tif")[0])


@pytest.mark.parametrize(
    "given",
    ["https://u:secret@h/x?secret", "u:secret@h", "h/x?sig=secret", "h?secret", "a b", "", "h:port", "h\x1b[1m"],
)
def test_what_is_no_host_is_not_allowed_and_not_repeated(given: str) -> None:
    with pytest.raises(SettingsError, match=r"names no host: give HOST, HOST:PORT or the name of a bucket") as caught:
        RemoteAccess.of((given,), RemoteSection())
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "there", ["/é b.tif?sig=é secret", "https://[::1", "http://u:se[cret@h/", "https://h:secret/x"]
)
def test_a_redirect_is_followed_as_it_came_or_refused_without_its_secrets(
    tmp_path: Path, server: Served, remote: RemoteFiles, there: str
) -> None:
    server.files["/\N{REPLACEMENT CHARACTER} b.tif"] = make_raster(tmp_path / "a.tif", (40, 40)).path
    server.redirects["/a.tif"] = there
    if there.startswith("/"):  # é is one byte of Latin-1 on the wire: no UTF-8, which the server shows
        assert open_scene(f"{server.url}/a.tif").grid.shape == (40, 40)
        return
    with pytest.raises(SceneError, match="is redirected to") as caught:
        open_scene(f"{server.url}/a.tif")
    assert "secret" not in str(caught.value)


def test_letters_in_a_query_are_sent_encoded(tmp_path: Path, server: Served, remote: RemoteFiles) -> None:
    server.files["/ü b.tif"] = make_raster(tmp_path / "a.tif", (40, 40)).path
    server.signatures = {"é secret"}
    assert open_scene(f"{server.url}/ü b.tif?sig=é secret").grid.shape == (40, 40)


def test_what_makes_no_request_is_refused_once_without_its_secrets(server: Served) -> None:
    target = Target(scheme="http", host=f"127.0.0.1:{server.port}", path="/é?secret", headers={}, private=True)
    with remote_access(LOOPBACK) as files, pytest.raises(SceneError, match="the address: no request can be") as caught:
        files.client.connections.get(target, {}, most=1, shown="the address")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_signing_service_without_address_is_refused() -> None:
    access = RemoteAccess(hosts=("h",), sign_url="https://[secret/{href}")
    with remote_access(access), pytest.raises(SettingsError, match=r"give remote.sign_url=https://host") as caught:
        open_scene("https://h/a.tif")
    assert "[secret" not in str(caught.value)


def test_a_page_in_place_of_a_mask_is_no_mask(tmp_path: Path, server: Served, remote: RemoteFiles) -> None:
    made = make_raster(tmp_path / "a.tif", (90, 70))
    page = b"<html>There is no such file. Sorry.</html>"
    server.answers["/a.tif.msk"] = lambda query: page  # HTTP 200, whole
    server.files = {"/a.tif": made.path, "/b.tif": made.path, "/b.tif.msk": page}  # the latter in parts
    for name in ("a", "b"):
        scene = open_scene(f"{server.url}/{name}.tif")
        assert np.array_equal(read(scene)[0], made.pixels)
        assert any(f"{name}.tif.msk: whether it is there cannot be told" in note for note in scene.notes)


def test_a_file_that_no_server_gives_does_not_end_a_listing(
    tmp_path: Path, server: Served, remote: RemoteFiles
) -> None:
    server.files = {f"/{k}.tif": b"x" * (k + 1) for k in range(4)}
    server.redirects["/2.tif"] = "http://[::1"
    server.fault = lambda path, start: "500" if path == "/1.tif" else None
    some = [Address.parse(f"{server.url}/{k}.tif")[0] for k in range(5)]
    assert [look and look.size for look in remote.look_at(some)] == [1, None, None, 4, None]
    server.fault = lambda path, start: "500"
    with pytest.raises(NetworkError, match=r"/0.tif: its server says HTTP 500"):
        remote.look_at(some)


@pytest.mark.parametrize("compress", ["deflate", "none"])
def test_a_block_that_claims_more_than_its_pixels_is_not_fetched(
    tmp_path: Path, server: Served, remote: RemoteFiles, compress: str
) -> None:
    """The server tells of 8 GB; the second block of the file claims 3 of them."""
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": 256, "height": 512, "count": 1, "dtype": "uint8", "compress": compress}
    with rasterio.open(
        path,
        "w",
        **profile,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as out:
        out.write(np.random.default_rng(0).integers(0, 255, (1, 512, 256), "uint8"))
    data, claimed = bytearray(path.read_bytes()), 3 * 10**9
    (tags,) = struct.unpack_from("<I", data, 4)
    for k in range(*struct.unpack_from("<H", data, tags)):
        tag, kind, count, at = struct.unpack_from("<HHII", data, tags + 2 + 12 * k)
        if tag == 325:  # TileByteCounts
            assert (kind, count) == (4, 2)
            struct.pack_into("<I", data, at + 4, claimed)
    server.files["/a.tif"], server.beyond = bytes(data), 8 * 10**9
    with pytest.raises(SceneError, match=rf"block 1, 0 claims {claimed} bytes, of which at most \d+ can be its own"):
        read(open_scene(f"{server.url}/a.tif"))
    assert server.fetched("/a.tif") < 2 * len(data)


def test_a_read_of_gigabytes_is_refused_before_it_is_asked(server: Served, remote: RemoteFiles) -> None:
    file = RemoteFile(remote.client, Address.parse(f"{server.url}/a.tif")[0], size=8 * 10**9, version="")
    with pytest.raises(SceneError, match="claims 3000000000 bytes in one piece: copy the file again"):
        file.read(0, 3 * 10**9)
    assert file.fetch((k * 2**30, k * 2**30 + 2**27) for k in range(3)) == []  # each block alone might be right
    assert server.log == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_ENDPOINT_URL", "https://[::1?hidden", "the endpoint of S3 in the environment is no address"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:hidden", "the endpoint of S3 in the environment is no address"),
        ("AWS_ENDPOINT_URL", "https://me:hidden@h", "the endpoint of S3 in the environment is no address"),
        ("AWS_REGION", "x.example.org/", "is 'x.example.org/': give a region such as us-east-1"),
        ("AWS_ACCESS_KEY_ID", "é hidden", "the credentials for S3 have spaces, line ends or other characters"),
        ("AWS_SESSION_TOKEN", "hidden\n", "the credentials for S3 have spaces, line ends or other characters"),
    ],
)
def test_settings_of_s3_that_make_no_request_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    for one, good in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("ENDPOINT_URL", "http://127.0.0.1:1")):
        monkeypatch.setenv(f"AWS_{one}", good)
    monkeypatch.setenv(name, value)
    with remote_access(LOOPBACK), pytest.raises(SettingsError, match=message) as caught:
        open_scene("s3://bucket/a.tif")
    assert "hidden" not in str(caught.value)


def test_a_region_that_a_server_names_becomes_no_host(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    server.told = {"x-amz-bucket-region": "x.example.org/"}
    client = RemoteClient(LOOPBACK)
    with pytest.raises(SceneError, match="HTTP 404"):
        client.read(Address.parse("s3://bucket/a.tif")[0], 0, 1)
    assert len(server.log) == 1


@pytest.mark.parametrize("value", ["h/sign?key=secret", "'ftp://h/{href}?secret'", "[secret", "{a: secret}"])
def test_a_wrong_signing_service_is_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError, match=r"remote\.sign_url: ") as caught:
        load_config("laptop", overrides=[f"remote.sign_url={value}"])
    assert "secret" not in str(caught.value)
