"""Makes the bucket or table of a place where there is none: in the sandbox, where any place is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.aws_errors import error_code, translated
from pytest_fileflow.results.table import PARTITION_KEY, SORT_KEY

if TYPE_CHECKING:
    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place

_THERE = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou", "ResourceInUseException")


def make(place: Place, clients: AwsClients) -> None:
    """Make what a place names, if it is not there; a folder makes itself."""
    from botocore.exceptions import ClientError

    with translated("create", str(place)):
        try:
            if place.kind == "s3":
                clients.client("s3").create_bucket(Bucket=place.name)
            elif place.kind == "dynamodb":
                keys = ((PARTITION_KEY, "HASH"), (SORT_KEY, "RANGE"))
                clients.client("dynamodb").create_table(
                    TableName=place.name,
                    KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
                    BillingMode="PAY_PER_REQUEST",
                )
        except ClientError as error:
            if error_code(error) not in _THERE:
                raise
