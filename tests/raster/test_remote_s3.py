"""Scenes in buckets: signatures, credentials, endpoints and listings."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from geoseg.errors import SceneError
from geoseg.raster.remote_client import RemoteClient
from geoseg.raster.remote_files import RemoteFiles, remote_access
from geoseg.raster.remote_s3 import Credentials, canonical_query, find_endpoint, sign
from geoseg.raster.scene import open_scene
from tests.raster.factory import make_raster
from tests.raster.remote_server import KEY, LOOPBACK, SECRET, Served, read

EXAMPLE = Credentials(key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


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
