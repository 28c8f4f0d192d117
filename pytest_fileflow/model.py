"""The frozen values that travel through the product: flows, cases, runs, checks, verdicts."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import posixpath
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["invoke", "event", "trigger_file"]
Invocation = Literal["Event", "RequestResponse", "DryRun"]
Outcome = Literal["passed", "failed", "error"]
Side = Literal["source", "target"]
Kind = Literal["transfer", "contract", "canary", "rejects"]


@dataclass(frozen=True)
class S3Location:
    """An S3 bucket and key prefix. A prefix without a trailing slash is a folder too."""

    type: ClassVar[str] = "S3"

    bucket: str
    prefix: str = ""
    kms_key_arn: str | None = None

    def key(self, name: str) -> str:
        """Return the object key of a file name in this location."""
        folder = self.prefix if not self.prefix or self.prefix.endswith("/") else f"{self.prefix}/"
        return f"{folder}{name}"

    def uri(self, name: str = "") -> str:
        """Return ``s3://bucket/prefix/name``."""
        return f"s3://{self.bucket}/{self.key(name)}"


@dataclass(frozen=True)
class SftpLocation:
    """A directory on an SFTP server, and who logs in there.

    ``host_key`` pins the server: an OpenSSH fingerprint (``SHA256:…``) or a public key line
    (``ssh-ed25519 AAAA…``). ``max_sessions`` bounds the channels a process opens (OpenSSH's own
    ``MaxSessions`` default is 10). ``max_runs`` bounds the runs between seed and verdict at a time,
    of all flows at this host and port; it is no part of what the place is.
    """

    type: ClassVar[str] = "SFTP"

    host: str
    username: str
    dir: str
    secret_arn: str
    port: int = 22
    host_key: str | None = None
    max_sessions: int = 8
    max_runs: int | None = field(default=None, compare=False)

    def path(self, name: str) -> str:
        """Return the server path of a file name in this location."""
        return posixpath.join(self.dir, name)

    def uri(self, name: str = "") -> str:
        """Return ``sftp://user@host:port/dir/name``."""
        return f"sftp://{self.username}@{self.host}:{self.port}/{self.path(name).lstrip('/')}"


Location = S3Location | SftpLocation


@dataclass(frozen=True)
class Transfer:
    """What makes the transfer start.

    ``payload`` is any JSON value whose strings may hold ``${file.name}`` and the like. With mode
    ``trigger_file`` a file of name ``trigger_name`` (templated) and text ``trigger_content`` is
    written beside the data file. ``timeout_seconds`` bounds the whole wait from the trigger on.
    """

    mode: Mode = "event"
    lambda_arn: str | None = None
    invocation: Invocation = "Event"
    payload: object = field(default_factory=dict)
    timeout_seconds: float | None = None
    trigger_name: str = "${file.name}.done"
    trigger_content: str = ""


@dataclass(frozen=True)
class CheckSpec:
    """A further check that a flow asks for, by its registered name, with its options."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """What a good transfer looks like. All times are seconds, measured from the trigger.

    ``unwraps`` are the layers of the payload that the flow takes off, from the outside in.
    """

    expect_within_seconds: float = 300.0
    grace_seconds: float = 30.0
    checksum: Literal["SHA256", "none"] = "SHA256"
    size_tolerance_bytes: int = 0
    post_arrival_wait_seconds: float = 0.0
    checks: tuple[CheckSpec, ...] = ()
    unwraps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One size of a flow's test data; ``name`` is its key under ``sizes``, empty for a single size.

    With ``is_nominal`` the file has the size that it has, whatever it was when the config was read.
    """

    name: str
    size: int
    is_nominal: bool = False

    @property
    def label(self) -> str:
        """Return the part of an item id between the brackets, as in ``typical-5MiB``."""
        if self.is_nominal:
            return self.name
        return f"{self.name}-{format_size(self.size)}" if self.name else format_size(self.size)


NO_FILE = Variant("", 0)
"""The variant of cases that send no file."""


@dataclass(frozen=True)
class Wrap:
    """What a file is wrapped in, ``gzip``, ``zip`` or ``pgp``, with what that needs to know."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TestData:
    """What is sent: sizes in bytes, the pattern of the bytes and its options, and how the file is named.

    ``wrap`` is what lies around the bytes, from the outside in; sizes are those of the innermost file.
    ``awkward`` is what makes the file's name hard to handle.
    """

    __test__: ClassVar[bool] = False  # or pytest would try to collect this class where it is imported

    variants: tuple[Variant, ...] = (Variant("", 1024 * 1024),)
    pattern: str = "random"
    filename_prefix: str = "fileflow"
    filename: str | None = None
    delete_after: bool = True
    options: Mapping[str, object] = field(default_factory=dict)
    wrap: tuple[Wrap, ...] = ()
    awkward: tuple[str, ...] = ()


BAD_PAYLOAD: Mapping[str, object] = MappingProxyType({"fileflow": "bad payload"})
"""What a function is invoked with that must refuse it, where a config does not say."""


@dataclass(frozen=True)
class Refusal:
    """Something that the system must refuse, by its name under ``negative``, with its options."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """What is looked at before files are sent; ``probe_target``: whether a probe is written at the target too."""

    probe_target: bool = True


@dataclass(frozen=True)
class Flow:
    """One configured transfer path.

    ``origin`` is ``file:line`` of its definition. ``faults`` are those that the sandbox is to have
    for this flow, as texts that :meth:`pytest_fileflow.faults.Fault.parse` reads.
    """

    flow_id: str
    source: Location
    target: Location
    transfer: Transfer = Transfer()
    validation: Validation = Validation()
    testdata: TestData = TestData()
    version: int | None = None
    enabled: bool = True
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    alerts: Mapping[str, object] = field(default_factory=dict)
    origin: str = ""
    contract: Contract = Contract()
    negative: tuple[Refusal, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def direction(self) -> str:
        """Return ``SFTP->S3`` and the like."""
        return f"{self.source.type}->{self.target.type}"

    @property
    def give_up_seconds(self) -> float:
        """Return how long after the trigger the wait ends: SLO and grace, capped by the timeout."""
        whole = self.validation.expect_within_seconds + self.validation.grace_seconds
        limit = self.transfer.timeout_seconds
        return whole if limit is None else min(whole, max(limit, self.validation.expect_within_seconds))


@dataclass(frozen=True)
class Rehearsal:
    """A flow's run with a fault in the sandbox: the flow_id in the config, the fault's text, the cause it must have."""

    flow_id: str
    fault: str
    cause: str | None


@dataclass(frozen=True)
class Case:
    """One flow and one variant: one pytest item.

    A ``transfer`` sends a file of the variant's size. A ``contract`` and a ``canary`` only look at
    what the flow needs, and ``rejects`` tries what the system must refuse: ``refusal``.
    """

    flow: Flow
    variant: Variant
    kind: Kind = "transfer"
    refusal: Refusal | None = None
    rehearsal: Rehearsal | None = None

    @property
    def label(self) -> str:
        """Return the part of the item's name between the brackets: ``typical-5MiB``, ``contract``, ``rejects-…``."""
        if self.kind == "transfer":
            return self.variant.label
        return f"rejects-{self.refusal.name}" if self.refusal else self.kind

    @property
    def name(self) -> str:
        """Return the item's name, as in ``acme[typical-5MiB]``."""
        return f"{self.flow.flow_id}[{self.label}]"


@dataclass(frozen=True)
class Inside:
    """A file inside another: what wraps it (``gzip``, ``zip``, ``pgp``), its size in bytes and hex SHA-256."""

    wrapping: str
    size: int
    sha256: str


SIDECAR_ENDINGS = (".sha256", ".manifest.json")


def data_file_of(name: str) -> str:
    """Return the name of the file that a sidecar is about; any other name as it is.

    >>> data_file_of("a.csv.sha256"), data_file_of("a.csv")
    ('a.csv', 'a.csv')
    """
    ending = next((ending for ending in SIDECAR_ENDINGS if name.endswith(ending)), "")
    return name.removesuffix(ending)


@dataclass(frozen=True)
class Recipe:
    """What the bytes of a run follow from, beside its run id: plain JSON values, to make them again anywhere.

    ``size`` is that of the innermost file in bytes, ``wraps`` lie around it, from the outside in.
    """

    pattern: str
    size: int
    options: Mapping[str, object] = field(default_factory=dict)
    wraps: tuple[Wrap, ...] = ()


@dataclass(frozen=True)
class PayloadFile:
    """The name, size in bytes and hex SHA-256 of a run's synthetic file.

    ``inside`` are the files in it, from the outside in. ``rows`` is how many records the innermost
    one has, and ``header`` its first line, where its pattern has any. ``made_by`` is how it is made;
    None where pattern and size say all. ``from_dict`` reads what ``dataclasses.asdict`` made of it.
    """

    name: str
    size: int
    sha256: str
    pattern: str = "random"
    inside: tuple[Inside, ...] = ()
    rows: int | None = None
    header: str | None = None
    made_by: Recipe | None = None

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> PayloadFile:
        """Return the file of its JSON form."""
        made_by = told.get("made_by")
        if made_by is not None:
            made_by = Recipe(**{**made_by, "wraps": tuple(Wrap(**wrap) for wrap in made_by.get("wraps", ()))})
        inside = tuple(Inside(**layer) for layer in told.get("inside", ()))
        return cls(**{**told, "inside": inside, "made_by": made_by})

    @property
    def recipe(self) -> Recipe:
        """Return how the file is made."""
        return self.made_by or Recipe(self.pattern, self.size)

    @property
    def sidecars(self) -> tuple[str, str]:
        """Return the names of the sidecar files: the digest's and the manifest's."""
        return sidecar_names(self.name)


NAME_BYTES = 255
"""NAME_MAX of Linux and macOS, and of the file systems behind most servers."""


def sidecar_names(name: str) -> tuple[str, str]:
    """Return the names of a file's sidecars: its own with an ending.

    Where that would be too long for a server, the end of its name stands for it, behind 16 hex digits of
    the name's SHA-256 and a tilde.

    >>> sidecar_names("a.csv")
    ('a.csv.sha256', 'a.csv.manifest.json')
    """
    digest, manifest = SIDECAR_ENDINGS
    room = NAME_BYTES - max(map(len, SIDECAR_ENDINGS))
    if len(name.encode()) > room:
        mark = f"{hashlib.sha256(name.encode()).hexdigest()[:16]}~"
        name = mark + name.encode()[len(mark) - room :].decode(errors="ignore")
    return f"{name}{digest}", f"{name}{manifest}"


@dataclass(frozen=True)
class Stat:
    """A file as an endpoint shows it.

    ``version`` is opaque and changes whenever the file does (ETag; modification time over SFTP).
    ``modified`` is seconds since the epoch by the server's clock. ``kms_key_id`` is the key the
    object is encrypted with, where the endpoint tells.
    """

    name: str
    size: int
    version: str = ""
    modified: float | None = None
    encryption: str | None = None
    kms_key_id: str | None = None


@dataclass(frozen=True)
class CheckResult:
    """What one check expected and observed, as short texts."""

    name: str
    passed: bool
    expected: str
    observed: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form in a run record."""
        return {
            "name": str(self.name),
            "outcome": "passed" if self.passed else "failed",
            "expected": str(self.expected),
            "observed": str(self.observed),
        }


@dataclass(frozen=True)
class Observed:
    """What was found at the target."""

    location: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Latency:
    """Arrival minus trigger, in seconds; the true arrival lies at most ``resolution`` earlier."""

    seconds: float
    resolution: float


@dataclass(frozen=True)
class Verdict:
    """The one answer of a run: its outcome and, unless it passed, cause, reason, hint and evidence.

    ``strays`` are files that the flow made of the run's, where nobody expected them: they are
    removed with the others. A name is among them only if it holds the run id.
    """

    outcome: Outcome
    cause: str | None = None
    reason: str | None = None
    hint: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    strays: tuple[tuple[Location, str], ...] = ()


PASSED = Verdict("passed")


@dataclass(frozen=True)
class Run:
    """One execution of one case, as far as it has come.

    ``timeline`` holds UTC stamps (``2026-11-24T06:00:00.000Z``) by the name of the step.
    ``written`` is the ledger: every name this run may have written, by side; only these, and
    the copies that the transfer made of them, are ever deleted. ``strays`` are such copies that
    turned up where no name of the ledger is; their names hold the run id.
    """

    run_id: str
    flow_id: str
    case: str
    direction: str
    attempt: int
    file: PayloadFile
    timeline: Mapping[str, str] = field(default_factory=dict)
    written: tuple[tuple[Side, str], ...] = ()
    observed: Observed | None = None
    latency: Latency | None = None
    checks: tuple[CheckResult, ...] = ()
    evidence: Mapping[str, object] = field(default_factory=dict)
    residue: tuple[str, ...] = ()
    strays: tuple[tuple[Location, str], ...] = ()
    verdict: Verdict | None = None

    def with_stamp(self, step: str, stamp: str) -> Run:
        """Return the run with a step's UTC stamp added."""
        return dataclasses.replace(self, timeline={**self.timeline, step: stamp})

    def with_evidence(self, **evidence: object) -> Run:
        """Return the run with further evidence; values must be JSON-safe."""
        return dataclasses.replace(self, evidence={**self.evidence, **evidence})


_BINARY = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_DECIMAL = (("GB", 1000**3), ("MB", 1000**2), ("KB", 1000))


@functools.lru_cache
def format_size(size: int) -> str:
    """Return an exact, short text for a number of bytes: ``5MiB``, ``2KB``, ``1234B``.

    >>> format_size(5242880), format_size(1500), format_size(2000), format_size(0)
    ('5MiB', '1500B', '2KB', '0B')
    """
    for unit, factor in _BINARY + _DECIMAL:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"
