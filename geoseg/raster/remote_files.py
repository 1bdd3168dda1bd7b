"""The remote files that may be read here and now: who may, which were looked at; how is `remote_client`'s."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from geoseg.errors import NetworkError, SceneError
from geoseg.raster.remote import Address, RemoteAccess, is_remote
from geoseg.raster.remote_client import Part, Refused, RemoteClient
from geoseg.raster.remote_file import CHUNK, RemoteFile

_MOST_FILES: Final = 32
"""Files of which bytes are kept."""
_LOOKS: Final = 16
"""Files looked at side by side."""
_TIFF: Final = (b"II", b"MM")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a server says of a file."""

    size: int
    version: str
    """ETag, or the time of the last change."""


class RemoteFiles:
    """Remote files under one permission; made by `remote_access`."""

    def __init__(self, access: RemoteAccess, queries: Mapping[str, str] | None = None) -> None:
        self.access = access
        self.client = RemoteClient(access, queries)
        self._files: OrderedDict[str, RemoteFile] = OrderedDict()

    @property
    def queries(self) -> dict[str, str]:
        """Of signed addresses, by uri: secrets."""
        return self.client.queries

    def adopt(self, text: str) -> Address:
        """The address in a text; if it is signed, its signature is kept for it.

        Raises:
            SceneError: it may not be read, or was named before with another query.
        """
        address, query = Address.parse(text)
        self.access.check(address)
        if query and self.queries.setdefault(address.uri, query) != query:
            raise SceneError(
                f"{address.uri} is named twice with different queries, which are taken for signatures: name it once"
            )
        return address

    def look(self, address: Address) -> Look:
        """Size and version of a file, asked for now.

        Raises:
            SceneError: it is refused, empty, or its server gives no parts of files.
            NetworkError: no answer, again and again.
        """
        return self._take(address, self.client.read(address, 0, CHUNK))

    def look_at(self, addresses: Sequence[Address]) -> list[Look | None]:
        """Of each file size and version, None where the server refuses it or does not answer; nothing is kept.

        Raises:
            NetworkError: there is no answer for any of them: the network itself is not there.
        """
        with ThreadPoolExecutor(_LOOKS) as pool:
            found = list(pool.map(self._peek, addresses))
        failures = [one for one in found if isinstance(one, NetworkError)]
        if failures and len(failures) == len(found):
            raise failures[0]
        return [one if isinstance(one, Look) else None for one in found]

    def open(self, address: Address) -> RemoteFile:
        """A file as it was when it was last looked at.

        Raises:
            SceneError, NetworkError: as `look`.
        """
        if address.uri not in self._files:
            self.look(address)
        self._files.move_to_end(address.uri)
        return self._files[address.uri]

    def exists(self, address: Address, *, beside: Address) -> bool | None:
        """Whether a TIFF is there; None: that cannot be told, as beside a file whose address is signed.

        Many sites answer with a page of their own for what they do not have.

        Raises:
            NetworkError: no answer, again and again.
        """
        signed = beside.uri in self.queries and address.uri not in self.queries
        if signed and self.access.sign_url is None:
            return None
        try:
            self.look(address)
        except Refused as error:
            return False if error.status in (404, 410) else None
        return True if self.open(address).read(0, 2) in _TIFF else None

    def close(self) -> None:
        """Ends its connections."""
        self.client.connections.close()

    def _peek(self, address: Address) -> Look | NetworkError | None:
        try:
            part = self.client.read(address, 0, 1)
        except NetworkError as error:
            return error
        except SceneError:
            return None
        return Look(size=part.total, version=part.version)

    def _take(self, address: Address, part: Part) -> Look:
        known = self._files.get(address.uri)
        if known is None or (known.size, known.version) != (part.total, part.version):
            known = RemoteFile(self.client, address, size=part.total, version=part.version)
            self._files[address.uri] = known
        known.keep(part.data)
        while len(self._files) > _MOST_FILES:
            self._files.popitem(last=False)
        return Look(size=part.total, version=part.version)


_current: ContextVar[RemoteFiles | None] = ContextVar("remote_files", default=None)


@contextmanager
def remote_access(access: RemoteAccess, queries: Mapping[str, str] | None = None) -> Iterator[RemoteFiles]:
    """Within it remote files are read, in this thread; without it none are.

    Args:
        access: which, and with how much patience.
        queries: of signed addresses, by uri without the query.
    """
    files = RemoteFiles(access, queries)
    token = _current.set(files)
    try:
        yield files
    finally:
        _current.reset(token)
        files.close()


def adopt(text: str) -> str:
    """The uri of a scene: a local one as it is, an address without its signature, which is kept here.

    Raises:
        SceneError: it is an address that may not be read.
    """
    return remote_files().adopt(text).uri if is_remote(text) else text


def remote_files() -> RemoteFiles:
    """Those that may be read here: none, unless within `remote_access`."""
    return _current.get() or RemoteFiles(RemoteAccess())
