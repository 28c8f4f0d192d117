"""The system under test, as a Lambda function: copies the file that its event names, from and to S3 and servers.

Its zip holds this file alone; boto3 and paramiko come from the functions' package. It shares no code with the tester.
"""

from __future__ import annotations

import io
import json
import urllib.parse
from contextlib import contextmanager

import boto3
import paramiko


def handler(event, context):
    content = read(event["source"])
    write(event["target"], content)
    print("moved", len(content), "bytes", event["run_id"])  # noqa: T201 - a function logs what it prints
    return {"moved": len(content)}


def read(uri):
    place = urllib.parse.urlsplit(uri)
    if place.scheme == "s3":
        answer = boto3.client("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
        return answer["Body"].read()
    with login(place) as sftp, sftp.open(place.path, "rb") as file:
        file.prefetch()
        return file.read()


def write(uri, content):
    place = urllib.parse.urlsplit(uri)
    if place.scheme == "s3":
        boto3.client("s3").put_object(Bucket=place.netloc, Key=place.path.lstrip("/"), Body=content)
        return
    with login(place) as sftp, sftp.open(place.path, "wb") as file:
        file.set_pipelined(True)
        file.write(content)


@contextmanager
def login(place):
    secret = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId="partner")["SecretString"])
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(secret["privateKey"]))
        client.connect(place.hostname, place.port, place.username, pkey=key, look_for_keys=False, allow_agent=False)
        with client.open_sftp() as sftp:
            yield sftp
