"""Puts and finds files under a prefix of an S3 bucket."""

from __future__ import annotations

import io
import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pytest_fileflow.clients import error_code, http_status, translate, translated
from pytest_fileflow.endpoints import CHUNK_BYTES
from pytest_fileflow.endpoints.names import checked
from pytest_fileflow.errors import (
    AccessDenied,
    CredentialsUnusable,
    FileflowError,
    LocationMissing,
    TesterBug,
)
from pytest_fileflow.model import S3Location, Stat

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from typing import BinaryIO

    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

logger = logging.getLogger(__name__)

# One PutObject is twice as fast as parts up to here, and starts what listens to ObjectCreated:Put alone.
MULTIPART_THRESHOLD_BYTES: Final = 128 * 1024 * 1024
PART_BYTES: Final = 16 * 1024 * 1024
PARTS: Final = 10_000  # S3's limit for one upload
PAGE: Final = 1000  # ListObjectsV2 never returns more at a time

_NOT_FOUND = 404
_CHANGED = 412
_BEYOND_END = 416
_FORBIDDEN = 403
# A HEAD is answered without a body: expired credentials and a missing permission look alike.
_UNCLEAR = frozenset((400, _FORBIDDEN))
_FORBIDDEN_HINT = (
    "Grant s3:GetObject on the objects and s3:ListBucket on the bucket: "
    "without s3:ListBucket, S3 answers 403 for a key that does not exist, too."
)


class S3Endpoint:
    """A bucket and prefix, over a client that may be shared by any number of endpoints and threads.

    That the bucket exists is checked once, at the first answer that leaves it open.
    """

    location: S3Location

    def __init__(self, location: S3Location, client: Any) -> None:
        self.location = location
        self._client = client
        self._bucket_seen = False

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        """Write an object in one PutObject, above 128 MiB as a multipart upload; a failed one is aborted."""
        length = _length(body)
        if length != size:
            raise TesterBug(f"the stream for {name} holds {length} bytes, not {size}")
        with translated("s3:PutObject", self.location.uri(name)):
            self._client.upload_fileobj(
                _Lent(body),
                self.location.bucket,
                self._key(name),
                ExtraArgs=self._extra(tags),
                Config=_transfer_config(size),
            )

    def stat(self, name: str) -> Stat | None:
        """Return an object's HEAD, with its ETag as version and its encryption."""
        from botocore.exceptions import ClientError

        with translated("s3:GetObject", self.location.uri(name)):
            try:
                head = self._client.head_object(Bucket=self.location.bucket, Key=self._key(name))
            except ClientError as error:
                if http_status(error) == _NOT_FOUND:
                    self._require_bucket()
                    return None
                raise self._explained(error, name) from error
        return Stat(
            name=name,
            size=head["ContentLength"],
            version=head["ETag"],
            modified=head["LastModified"].timestamp(),
            encryption=head.get("ServerSideEncryption"),
            kms_key_id=head.get("SSEKMSKeyId"),
        )

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        """Return objects directly in this folder; a LIST tells no encryption."""
        folder = self.location.key("")
        found: list[Stat] = []
        more: dict[str, str] = {}
        while len(found) < limit:
            page = self._page(folder + prefix, limit - len(found), more)
            found += [_listed(entry, folder) for entry in page.get("Contents", ()) if entry["Key"] != folder]
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        return found[:limit]

    @contextmanager
    def open(self, name: str, offset: int = 0, version: str | None = None) -> Iterator[Iterator[bytes] | None]:
        """Stream an object from an offset on; ``version`` is the ETag it must still have."""
        body = self._body(name, offset, version)
        if body is None:
            yield None
            return
        with closing(body), closing(self._chunks(name, body)) as chunks:
            yield chunks

    def delete(self, name: str) -> None:
        """Remove an object; S3 answers the same where there is none."""
        with translated("s3:DeleteObject", self.location.uri(name)):
            self._client.delete_object(Bucket=self.location.bucket, Key=self._key(name))

    def _key(self, name: str) -> str:
        return self.location.key(checked(name))

    def _extra(self, tags: Mapping[str, str]) -> dict[str, str]:
        extra = {"Tagging": urlencode(tags)} if tags else {}
        if self.location.kms_key_arn:
            extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.location.kms_key_arn}
        return extra

    def _page(self, prefix: str, wanted: int, more: Mapping[str, str]) -> dict[str, Any]:
        with translated("s3:ListBucket", f"s3://{self.location.bucket}/{prefix}"):
            page: dict[str, Any] = self._client.list_objects_v2(
                Bucket=self.location.bucket,
                Prefix=prefix,
                Delimiter="/",
                MaxKeys=min(PAGE, wanted + 1),  # the folder's own marker object may be among them
                **more,
            )
        self._bucket_seen = True
        return page

    def _body(self, name: str, offset: int, version: str | None) -> Any:
        from botocore.exceptions import ClientError

        asked = {"Range": f"bytes={offset}-"} if offset else {}
        if version is not None:
            asked["IfMatch"] = version
        with translated("s3:GetObject", self.location.uri(name)):
            try:
                return self._client.get_object(Bucket=self.location.bucket, Key=self._key(name), **asked)["Body"]
            except ClientError as error:
                if http_status(error) == _BEYOND_END:
                    return io.BytesIO()
                if error_code(error) == "NoSuchKey" or http_status(error) == _CHANGED:
                    return None
                raise self._explained(error, name) from error

    def _chunks(self, name: str, body: Any) -> Generator[bytes, None, None]:
        with translated("s3:GetObject", self.location.uri(name)):
            while chunk := body.read(CHUNK_BYTES):
                yield chunk

    def _require_bucket(self) -> None:
        """Raise LocationMissing where a 404 meant the bucket: a HEAD's 404 does not tell.

        Any other answer (301, 403) comes from a bucket that exists.
        """
        from botocore.exceptions import ClientError

        if self._bucket_seen:
            return
        try:
            self._client.head_bucket(Bucket=self.location.bucket)
        except ClientError as error:
            if http_status(error) == _NOT_FOUND:
                raise LocationMissing(f"there is no bucket {self.location.bucket}") from error
            logger.debug("HEAD of bucket %s: %s", self.location.bucket, error_code(error))
        self._bucket_seen = True

    def _explained(self, error: ClientError, name: str) -> FileflowError:
        """Return what an error means, asking once more with a LIST where the answer had no body."""
        told = translate(error, action="s3:GetObject", location=self.location.uri(name))
        if http_status(error) not in _UNCLEAR or not error_code(error).isdigit():
            return _with_hint(told)
        try:
            self._page(self._key(name), 1, {})
        except CredentialsUnusable as real:
            return real
        except FileflowError as other:
            logger.debug("asked again why %s: %s", told.reason, other.reason)
        return _with_hint(told)


class _Lent(io.RawIOBase):
    """A caller's stream, which s3transfer would otherwise close (boto3 issue 929)."""

    def __init__(self, body: BinaryIO) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._body.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._body.seek(offset, whence)

    def tell(self) -> int:
        return self._body.tell()


def _length(body: BinaryIO) -> int:
    here = body.tell()
    end = body.seek(0, io.SEEK_END)
    body.seek(here)
    return end - here


def _transfer_config(size: int) -> TransferConfig:
    from boto3.s3.transfer import TransferConfig

    # No threads of its own: they would hold a part each, and the engine bounds the work already.
    return TransferConfig(
        multipart_threshold=MULTIPART_THRESHOLD_BYTES,
        multipart_chunksize=max(PART_BYTES, -(-size // PARTS)),
        use_threads=False,
    )


def _listed(entry: Mapping[str, Any], folder: str) -> Stat:
    return Stat(
        name=entry["Key"][len(folder) :],
        size=entry["Size"],
        version=entry["ETag"],
        modified=entry["LastModified"].timestamp(),
    )


def _with_hint(told: FileflowError) -> FileflowError:
    if isinstance(told, AccessDenied):
        return AccessDenied(told.reason, hint=_FORBIDDEN_HINT, evidence=told.evidence)
    return told
