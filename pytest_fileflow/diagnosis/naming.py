"""What a file's name says about it: whether it is a run's, still being written, or goes with another file."""

from __future__ import annotations

import re

# What transfers and clients call a file while they write it.
_TEMPORARY = re.compile(
    r"(\.(part|partial|filepart|tmp|temp|crdownload|download|inprogress|in_progress|writing|uploading|upload|incomplete|swp|lock)"
    r"|~)$",
    re.IGNORECASE,
)
_TEMPORARY_FRONT = re.compile(r"^(\.|~|tmp[._-]|temp[._-])", re.IGNORECASE)
# What is written beside a file to say something about it.
_COMPANION = re.compile(
    r"\.(sha\d*|md5|crc\d*|asc|sig|pgpsig|manifest\.json|json|xml|yaml|txt|log|ctl|done|ok|ready|trg|trigger|go|eof|fin|flag|"
    r"complete|completed|success|err|error|failed|rejected|ack|nack|rpt|meta|metadata|checksum)$",
    re.IGNORECASE,
)
# What is put before, into or after the name of a second copy.
_COPY_MARK = re.compile(
    r"(copy[ _-]?of[ _-]*|[ _.-]*\(?\d{1,3}\)?|[ _.-]*\(?copy\)?([ _.-]*\(?\d{1,3}\)?)?)", re.IGNORECASE
)


def holds(name: str, run_id: str) -> bool:
    """Tell whether a name holds a run id; transfers may have changed its case.

    >>> holds("ACME_00FF.CSV", "00ff"), holds("acme.csv", "00ff")
    (True, False)
    """
    return run_id.lower() in name.lower()


def stem(name: str, run_id: str) -> str:
    """Return a name up to the end of the run id in it: what names made from it mostly begin with.

    >>> stem("acme_00ff.csv", "00ff")
    'acme_00ff'
    """
    at = name.find(run_id)
    return name if at < 0 else name[: at + len(run_id)]


def is_temporary(name: str) -> bool:
    """Tell whether a name is one that files have while they are written.

    >>> [is_temporary(name) for name in (".a.csv.part", "a.csv.filepart", "tmp_a.csv", "a.csv", "a.csv.1")]
    [True, True, True, False, False]
    """
    return bool(_TEMPORARY.search(name) or _TEMPORARY_FRONT.match(name))


def is_companion(name: str, expected: str) -> bool:
    """Tell whether a name is one of a file that goes with another, as a digest or a "done" file does.

    >>> [is_companion(name, "a.csv") for name in ("a.csv.done", "a.csv.MD5", "a.ok", "b.csv", "a.csv.1")]
    [True, True, True, False, False]
    >>> is_companion("renamed.json", "a.json"), is_companion("renamed.json.manifest.json", "a.json")
    (False, True)
    """
    found = _COMPANION.search(name)
    if found is None:
        return False
    return not expected.lower().endswith(found[0].lower())


def is_copy_of(name: str, original: str) -> bool:
    """Tell whether a name is that of a file with a mark that only copies have.

    >>> copies = ("a (1).csv", "a.csv.1", "a_1.csv", "copy of a.csv", "a - Copy.csv", "a.csv_2", "a.copy.csv")
    >>> all(is_copy_of(name, "a.csv") for name in copies)
    True
    >>> any(is_copy_of(name, "a.csv") for name in ("a.csv", "a.csv.done", "a.csv.md5", "ab.csv", "a.csv.2026"))
    False
    """
    body, dot, extension = original.rpartition(".")
    cuts = [("", original), (original, "")] + ([(body, f"{dot}{extension}")] if body else [])
    for front, back in cuts:
        if len(name) > len(original) and name.startswith(front) and name.endswith(back):
            middle = name[len(front) : len(name) - len(back)]
            if _COPY_MARK.fullmatch(middle.replace(" - ", " ")):
                return True
    return False
