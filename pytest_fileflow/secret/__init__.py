"""The secrets that flows log in with, wherever they are kept; this is the one door to them."""

from __future__ import annotations

from pytest_fileflow.secret.credentials import Credentials, mask, parse
from pytest_fileflow.secret.keeping import Renewal, Secrets
from pytest_fileflow.secret.reading import Secret, read

__all__ = ["Credentials", "Renewal", "Secret", "Secrets", "mask", "parse", "read"]
