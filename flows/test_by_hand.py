"""A test written in Python, where a config file does not say enough: the same endpoints, the same fixtures."""

import io

import pytest


@pytest.mark.smoke
def test_an_object_that_was_put_can_be_read_and_removed(fileflow_sandbox, aws_session, s3_endpoint):
    aws_session.client("s3", region_name="us-east-1").create_bucket(Bucket="by-hand")
    folder = s3_endpoint(bucket="by-hand", prefix="inbox/")

    folder.put("greeting.txt", io.BytesIO(b"hello"), 5, {"synthetic": "true"})

    assert folder.stat("greeting.txt").size == 5
    with folder.open("greeting.txt") as chunks:
        assert b"".join(chunks) == b"hello"
    folder.delete("greeting.txt")
    assert folder.stat("greeting.txt") is None
