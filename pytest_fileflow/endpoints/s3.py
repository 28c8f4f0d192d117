"""Puts and finds files under a prefix of an S3 bucket."""

from __future__ import annotations

import io
import logging
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pytest_fileflow.aws_errors import error_code, http_status, translate, translated
from pytest_fileflow.endpoints import CHUNK_BYTES, delete_each
from pytest_fileflow.endpoints.names import PROBE, checked
from pytest_fileflow.errors import (
    AccessDenied,
    ConfigInvalid,
    CredentialsUnusable,
    FileflowError,
    LocationMissing,
    NotTried,
    StorageFailed,
    TesterBug,
)
from pytest_fileflow.model import S3Location, Stat

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.endpoints import Stranger, Upload

logger = logging.getLogger(__name__)

# One PutObject is twice as fast as parts up to here, and starts what listens to ObjectCreated:Put alone.
MULTIPART_THRESHOLD_BYTES: Final = 128 * 1024 * 1024
PART_BYTES: Final = 16 * 1024 * 1024
PARTS: Final = 10_000  # S3's limit for one upload
UPLOADS: Final = 3  # of one object that are begun and not completed, whose parts are counted
PAGE: Final = 1000  # ListObjectsV2 never returns more at a time

# What an object may be stored with, as HeadObject calls it.
_HEADERS: Final = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
}

_NOT_FOUND = 404
_CHANGED = 412
_BEYOND_END = 416
_FORBIDDEN = 403
_ABSENT_CODES = frozenset(("404", "NoSuchKey"))  # AWS never says so here, other stores do
# A HEAD is answered without a body: expired credentials and a missing permission look alike.
_UNCLEAR = frozenset((400, _FORBIDDEN))
_FORBIDDEN_HINT = (
    "Grant s3:GetObject on the objects and s3:ListBucket on the bucket: "
    "without s3:ListBucket, S3 answers 403 for a key that does not exist, too."
)


class S3Endpoint:
    """A bucket and prefix, over a client that may be shared by any number of endpoints and threads.

    That the bucket exists is checked once, at the first answer that leaves it open. ``clients`` make
    the strangers for what must be refused.
    """

    location: S3Location

    def __init__(self, location: S3Location, client: Any, clients: AwsClients | None = None) -> None:
        self.location = location
        self._client = client
        self._clients = clients
        self._bucket_seen = False
        self._versioned = False  # as far as an answer has shown it
        self._may_list_versions = True  # until that was denied

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        """Write an object in one PutObject, above 128 MiB as a multipart upload; a failed one is aborted."""
        length = _length(body)
        if length != size:
            raise TesterBug(f"the stream for {name} holds {length} bytes, not {size}")
        where, extra = {"Bucket": self.location.bucket, "Key": self._key(name)}, self._extra(tags)
        with translated("s3:PutObject", self.location.uri(name)), _lent(body) as lent:
            if size < MULTIPART_THRESHOLD_BYTES:
                self._client.put_object(Body=lent, **where, **extra)
            else:
                config = _transfer_config(size)
                self._client.upload_fileobj(lent, **where, ExtraArgs=extra, Config=config)

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
        self._note_version(head)
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

    def folders(self, limit: int = 100) -> Sequence[str]:
        """Return the common prefixes in this one, by one LIST: those after its first 1000 keys are not shown."""
        folder = self.location.key("")
        page = self._page(folder, PAGE, {})
        return [entry["Prefix"][len(folder) :].rstrip("/") for entry in page.get("CommonPrefixes", ())][:limit]

    def versions(self, prefix: str, limit: int = 100) -> Sequence[tuple[Stat, bool]] | None:
        """Return the versions of objects, by one ListObjectVersions, once an answer has shown that there are any."""
        if not self._versioned or not self._may_list_versions:
            return None
        folder = self.location.key("")
        asked = {"Bucket": self.location.bucket, "Prefix": folder + prefix, "MaxKeys": min(PAGE, limit)}
        try:
            with translated("s3:ListBucketVersions", f"s3://{self.location.bucket}/{folder}{prefix}"):
                page = self._client.list_object_versions(Delimiter="/", **asked)
        except AccessDenied:
            self._may_list_versions = False  # a permission of its own: it need not be asked for again
            raise
        return [(_listed(entry, folder), entry["IsLatest"]) for entry in page.get("Versions", ())]

    def unfinished(self, name: str) -> Sequence[int]:
        """Return the bytes in the parts of multipart uploads that nobody has completed or aborted, of a few at most."""
        where = {"Bucket": self.location.bucket, "Key": self._key(name)}
        with translated("s3:ListBucketMultipartUploads", self.location.uri(name)):
            page = self._client.list_multipart_uploads(Bucket=where["Bucket"], Prefix=where["Key"])
        begun = [each["UploadId"] for each in page.get("Uploads", ()) if each["Key"] == where["Key"]]
        with translated("s3:ListMultipartUploadParts", self.location.uri(name)):
            shown = [self._client.list_parts(UploadId=upload, **where) for upload in begun[:UPLOADS]]
        return [sum(part["Size"] for part in parts.get("Parts", ())) for parts in shown]

    def tags(self, name: str) -> Mapping[str, str]:
        """Return an object's tags, by one GetObjectTagging; none of an object that is not there."""
        from botocore.exceptions import ClientError

        where = {"Bucket": self.location.bucket, "Key": self._key(name)}
        with translated("s3:GetObjectTagging", self.location.uri(name)):
            try:
                answer = self._client.get_object_tagging(**where)
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return {}
                raise
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def metadata(self, name: str) -> Mapping[str, str]:
        """Return what an object's HEAD tells of it, the writer's own metadata and the headers it was stored with."""
        from botocore.exceptions import ClientError

        with translated("s3:GetObject", self.location.uri(name)):
            try:
                head = self._client.head_object(Bucket=self.location.bucket, Key=self._key(name))
            except ClientError as error:
                if http_status(error) == _NOT_FOUND:
                    return {}
                raise self._explained(error, name) from error
        own = {key.lower(): value for key, value in head["Metadata"].items()}
        return {**own, **{header: str(head[field]) for field, header in _HEADERS.items() if field in head}}

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

    def put_all(self, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
        """Write objects one after the other: S3 takes one at a time."""
        for upload in uploads:
            self.put(upload.name, upload.body, upload.size, tags)

    def delete_all(self, names: Sequence[str]) -> dict[str, FileflowError]:
        """Remove up to 1000 objects with one DeleteObjects, or one by one where the store has no such request."""
        wanted = {"Objects": [{"Key": self._key(name)} for name in names], "Quiet": True}
        try:
            with translated("s3:DeleteObject", self.location.uri(names[-1])):
                answer = self._client.delete_objects(Bucket=self.location.bucket, Delete=wanted)
        except (ConfigInvalid, StorageFailed) as error:
            logger.debug("%s takes no DeleteObjects: %s", self.location.bucket, error.reason)
            return delete_each(self, names)
        by_key = {self._key(name): name for name in names}
        refused = [told for told in answer.get("Errors", ()) if told.get("Code") not in _ABSENT_CODES]
        if any(told.get("Key") not in by_key for told in refused):  # it does not say which
            return delete_each(self, names)
        return {by_key[told["Key"]]: self._not_deleted(told) for told in refused}

    def prove_writing(self, name: str, tags: Mapping[str, str]) -> str | None:
        """Begin a multipart upload with a part, and abort it: nothing becomes visible, and no event is sent."""
        uri = self.location.uri(name)
        where = {"Bucket": self.location.bucket, "Key": self._key(name)}
        with translated("s3:PutObject", uri):
            upload = {
                **where,
                "UploadId": self._client.create_multipart_upload(**where, **self._extra(tags))["UploadId"],
            }
        try:
            with translated("s3:PutObject", uri):
                self._client.upload_part(Body=PROBE, PartNumber=1, **upload)
        except FileflowError as error:
            remark = self._abort(upload, uri)
            raise type(error)(error.reason, hint=error.hint, evidence={**error.evidence, "upload": remark}) from error
        return self._abort(upload, uri)

    def _abort(self, upload: Mapping[str, str], uri: str) -> str | None:
        """Abort a multipart upload; a permission that is missing for that alone says nothing about writing."""
        try:
            with translated("s3:AbortMultipartUpload", uri):
                self._client.abort_multipart_upload(**upload)
        except FileflowError as error:
            logger.warning("an upload stays open: %s", error.reason)
            return f"the upload could not be aborted and stays open: {error.reason}"
        return None

    def knock(self, stranger: Stranger, name: str) -> None:
        """List the prefix once with an access key that nobody has, or without a signature."""
        del name  # S3 knows users by their keys alone
        self._stranger(signs=stranger == "wrong_key").list(limit=1)

    def turn(self) -> AbstractContextManager[object]:
        """Return what nobody has to wait for."""
        return nullcontext()

    def nobody(self) -> S3Endpoint:
        """Return the same bucket and prefix over requests that are not signed."""
        return self._stranger(signs=False)

    def _stranger(self, *, signs: bool) -> S3Endpoint:
        if self._clients is None:
            uri = self.location.uri()
            raise NotTried(f"nobody can be a stranger at {uri}: its endpoint was made without AwsClients")
        return S3Endpoint(self.location, self._clients.stranger("s3", signs=signs))

    def _not_deleted(self, told: Mapping[str, Any]) -> FileflowError:
        from botocore.exceptions import ClientError

        uri = f"s3://{self.location.bucket}/{told['Key']}"
        return translate(ClientError({"Error": told}, "DeleteObjects"), action="s3:DeleteObject", location=uri)  # type: ignore[typeddict-item]

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
                answer = self._client.get_object(Bucket=self.location.bucket, Key=self._key(name), **asked)
            except ClientError as error:
                if http_status(error) == _BEYOND_END:
                    return io.BytesIO()
                if error_code(error) == "NoSuchKey" or http_status(error) == _CHANGED:
                    return None
                raise self._explained(error, name) from error
        self._note_version(answer)
        return answer["Body"]

    def _note_version(self, answer: Mapping[str, Any]) -> None:
        """Take note of a bucket that keeps versions; where that was switched off, new ones are called null."""
        self._versioned = answer.get("VersionId", "null") != "null"

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


@contextmanager
def _lent(body: BinaryIO) -> Iterator[_Lent]:
    """Lend a stream to an upload; what reading it raised comes out as it is, whatever the upload made of it."""
    lent = _Lent(body)
    try:
        yield lent
    except Exception as error:
        if lent.failure is None or lent.failure is error:
            raise
        raise lent.failure from error


class _Lent(io.RawIOBase):
    """A caller's stream from where it stands, which s3transfer would otherwise close (boto3 issue 929).

    botocore begins every further try at offset 0, and takes whatever reading raises for a broken
    connection that is worth one. So a stream that failed does not go back.
    """

    def __init__(self, body: BinaryIO) -> None:
        self._body = body
        self._start = body.tell()
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._body.read(size)
        except BaseException as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self.failure is not None:
            raise self.failure
        return self._body.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start

    def tell(self) -> int:
        return self._body.tell() - self._start


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
