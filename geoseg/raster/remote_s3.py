"""What is particular to S3: endpoint, credentials, signature (version 4) and the pages of a listing."""

import configparser
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeGuard
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import Address

_NO_ENDPOINT: Final = "the endpoint of S3 in the environment is no address: set AWS_ENDPOINT_URL=https://host"
_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_YES: Final = ("YES", "TRUE", "ON", "1")
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_PLAIN: Final = re.compile(r"[!-~]+")
"""What a header can hold."""
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Of an account."""

    key: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where buckets are served."""

    scheme: str
    host: str
    """With a port where one is named."""
    path: str
    """Before the key, with no slash at its end."""
    is_own: bool
    """The user's environment names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A key of a bucket."""

    key: str
    size: int
    etag: str


def find_endpoint(bucket: str, region: str) -> Endpoint:
    """Where a bucket is, by the AWS_ variables: AWS_ENDPOINT_URL, or AWS_S3_ENDPOINT as GDAL has it, else Amazon's.

    Raises:
        SettingsError: the variable holds no address.
    """
    own = next((value for name in _ENDPOINTS if (value := os.environ.get(name))), None)
    if own is None and (host := os.environ.get("AWS_S3_ENDPOINT")):
        own = host if "://" in host else f"{'https' if _says('AWS_HTTPS', default=True) else 'http'}://{host}"
    if own is None:
        dotted = "." in bucket  # no certificate covers it
        host = f"s3.{region}.amazonaws.com" if dotted else f"{bucket}.s3.{region}.amazonaws.com"
        return Endpoint(scheme="https", host=host, path=f"/{bucket}" if dotted else "", is_own=False)
    try:
        at, query = Address.parse(own)
    except SceneError as error:
        raise SettingsError(f"{_NO_ENDPOINT} ({error})") from error
    if at.scheme == "s3" or query:
        raise SettingsError(_NO_ENDPOINT)
    path = at.path.rstrip("/")
    if _says("AWS_VIRTUAL_HOSTING", default=False):
        return Endpoint(scheme=at.scheme, host=f"{bucket}.{at.host}", path=path, is_own=True)
    return Endpoint(scheme=at.scheme, host=at.host, path=f"{path}/{bucket}", is_own=True)


def find_region() -> str:
    """The region requests are signed for until a bucket says that it is elsewhere.

    Raises:
        SettingsError: the variable holds none.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not is_region(region):
        raise SettingsError(f"AWS_REGION or AWS_DEFAULT_REGION is {region[:80]!r}: give a region such as us-east-1")
    return region


def is_region(text: str | None) -> TypeGuard[str]:
    """Whether a text can be a region: it becomes part of a host."""
    return text is not None and _REGION.fullmatch(text) is not None


def find_credentials() -> Credentials | None:
    """From the AWS_ variables, ~/.aws/credentials, or (where botocore is installed) a role; None: do not sign.

    Raises:
        SceneError: there are none, and AWS_NO_SIGN_REQUEST is not set.
        SettingsError: they have characters that no request can hold.
    """
    if _says("AWS_NO_SIGN_REQUEST", default=False):
        return None
    found = _from_environment() or _from_file() or _from_role()
    if found is None:
        raise SceneError(
            "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or for "
            "a public bucket AWS_NO_SIGN_REQUEST=YES"
        )
    if not all(map(_PLAIN.fullmatch, (found.key, found.secret, found.token or "-"))):
        raise SettingsError(
            "the credentials for S3 have spaces, line ends or other characters than ASCII in key, secret or token: "
            "copy them again"
        )
    return found


def canonical_query(query: Mapping[str, str]) -> str:
    """The query as it is signed and sent."""
    return "&".join(f"{_escape(key)}={_escape(query[key])}" for key in sorted(query))


def canonical_path(path: str) -> str:
    """A key as it is signed and sent."""
    return quote(path, safe="/-_.~")


def sign(
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    credentials: Credentials,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers of a GET with its signature (AWS Signature Version 4, in the Authorization header).

    Args:
        path: canonical.
        query: canonical.
        headers: must have host; names in lower case.
        credentials: of who asks.
        region: of the bucket.
        now: the time.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    all_headers = {**headers, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    if credentials.token:
        all_headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(all_headers))
    lines = "".join(f"{name}:{all_headers[name].strip()}\n" for name in sorted(all_headers))
    request = "\n".join(["GET", path, query, lines, names, _NOTHING])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    all_headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope},SignedHeaders={names},Signature={signature}"
    )
    return all_headers


def read_listing(content: bytes, bucket: str) -> tuple[list[Listed], str | None]:
    """(keys, token of the next page) of an answer to ListObjectsV2 with encoding-type=url.

    Raises:
        SceneError: it is none.
    """
    try:
        # expat since 2.4.1 bounds what entities may grow to, and the answer itself is bounded
        root = ElementTree.fromstring(content)  # noqa: S314
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        if root.tag != f"{space}ListBucketResult":
            raise ValueError(root.tag[:80])
        keys = [
            Listed(
                key=unquote_plus(one.findtext(f"{space}Key") or ""),
                size=int(one.findtext(f"{space}Size") or ""),
                etag=one.findtext(f"{space}ETag") or "",
            )
            for one in root.iterfind(f"{space}Contents")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise SceneError(f"s3://{bucket} gave no listing of S3: is AWS_ENDPOINT_URL the address of its API?") from error
    more = root.findtext(f"{space}IsTruncated") == "true"
    return keys, root.findtext(f"{space}NextContinuationToken") if more else None


def read_code(content: bytes) -> str:
    """The code of an S3 error (AccessDenied, ExpiredToken …), empty where there is none."""
    try:
        code = ElementTree.fromstring(content).findtext("{*}Code") or ""  # noqa: S314
    except ElementTree.ParseError:
        return ""
    return code if code.isalnum() and len(code) < 60 else ""


def _from_environment() -> Credentials | None:
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return Credentials(key=key, secret=secret, token=os.environ.get("AWS_SESSION_TOKEN") or None)


def _from_file() -> Credentials | None:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        profile = parser[os.environ.get("AWS_PROFILE") or "default"]
    except (configparser.Error, KeyError, UnicodeDecodeError, OSError):
        return None
    key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    return Credentials(key=key, secret=secret, token=profile.get("aws_session_token")) if key and secret else None


def _from_role() -> Credentials | None:
    """Of the machine, the pod or a login: botocore knows all the ways."""
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        return None
    try:
        found = Session().get_credentials()
        frozen = None if found is None else found.get_frozen_credentials()
    except BotoCoreError as error:
        raise SceneError(f"credentials for S3 cannot be had ({type(error).__name__}): check AWS_PROFILE") from error
    return None if frozen is None else Credentials(key=frozen.access_key, secret=frozen.secret_key, token=frozen.token)


def _says(name: str, *, default: bool) -> bool:
    value = os.environ.get(name)
    return default if not value else value.upper() in _YES


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")
