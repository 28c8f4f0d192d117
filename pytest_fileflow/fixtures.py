"""The fixtures: for tests written in Python, and, where a conftest.py replaces one, for the collected flows too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import boto3

    from pytest_fileflow.allow import AllowList
    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.invoke import Started
    from pytest_fileflow.launcher import Report
    from pytest_fileflow.sandbox import Sandbox
    from pytest_fileflow.secret import Secrets


@pytest.fixture(scope="session")
def fileflow_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """Return the running stand-in for AWS and SFTP; it ends with the session.

    From then on this process's AWS configuration points at it, so no call can reach a real account.
    """
    from pytest_fileflow.plugin import SESSION

    try:
        return request.config.stash[SESSION].sandbox()
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def aws_session(request: pytest.FixtureRequest) -> boto3.Session:
    """Return the boto3 session that everything uses: standard AWS configuration, or the sandbox's."""
    from pytest_fileflow.plugin import SESSION

    if request.config.stash[SESSION].settings.sandbox:
        request.getfixturevalue("fileflow_sandbox")
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session()
    except BotoCoreError as error:  # a profile that does not exist, a config file that cannot be read
        pytest.fail(f"tester.credentials: the AWS configuration cannot be used: {error}", pytrace=False)


@pytest.fixture(scope="session")
def fileflow_clients(aws_session: boto3.Session) -> AwsClients:
    """Return the shared AWS clients, one a service and region."""
    from pytest_fileflow.clients import AwsClients

    return AwsClients(aws_session)


@pytest.fixture(scope="session")
def fileflow_secrets(request: pytest.FixtureRequest, fileflow_clients: AwsClients) -> Secrets:
    """Return the shared secrets: those of SSH logins, and those that no log may show."""
    from pytest_fileflow.plugin import SESSION
    from pytest_fileflow.secret import Secrets

    return Secrets(fileflow_clients, sandbox=request.config.stash[SESSION].settings.sandbox)


@pytest.fixture(scope="session")
def fileflow_ssh(request: pytest.FixtureRequest, fileflow_secrets: Secrets) -> Iterator[SshSessions]:
    """Return the shared SSH sessions; keys and passwords are read once, and again when they are refused."""
    from pytest_fileflow.endpoints.ssh import SshSessions, direct
    from pytest_fileflow.plugin import SESSION

    sandbox = request.config.stash[SESSION].route()
    sessions = SshSessions(fileflow_secrets.credentials, route=sandbox or direct, renewed=fileflow_secrets.renewed)
    yield sessions
    sessions.close()


@pytest.fixture(scope="session")
def fileflow_allow(request: pytest.FixtureRequest) -> AllowList:
    """Return what the session may touch; without an allow-list that is everything."""
    from pytest_fileflow.plugin import SESSION

    return request.config.stash[SESSION].settings.bounds.allow_list


@pytest.fixture(scope="session")
def s3_endpoint(
    request: pytest.FixtureRequest, fileflow_clients: AwsClients, fileflow_allow: AllowList
) -> Callable[..., Endpoint]:
    """Return ``make(bucket, prefix="", kms_key_arn=None) -> Endpoint``."""
    from pytest_fileflow.plugin import SESSION
    from pytest_fileflow.toolbox import s3_endpoints

    return s3_endpoints(fileflow_clients, fileflow_allow, request.config.stash[SESSION].s3_client)


@pytest.fixture(scope="session")
def sftp_endpoint(fileflow_ssh: SshSessions, fileflow_allow: AllowList) -> Callable[..., Endpoint]:
    """Return ``make(host, username, dir, secret_arn, port=22, host_key=None, max_sessions=8) -> Endpoint``."""
    from pytest_fileflow.toolbox import sftp_endpoints

    return sftp_endpoints(fileflow_ssh, fileflow_allow)


@pytest.fixture(scope="session")
def transfer_invoker(
    fileflow_clients: AwsClients, fileflow_secrets: Secrets, fileflow_allow: AllowList
) -> Callable[..., Started]:
    """Return ``invoke(lambda_arn, payload, invocation="Event") -> Started`` (request id, log tail, answer).

    Its attribute ``knows_dry_run`` says that ``invocation="DryRun"`` asks whether the function may be
    invoked, and does not invoke it; contracts leave that out with an invoker that does not say so.
    Raises a TriggerError where the function is absent, denied, throttled, or, synchronously, failed.
    Its ``function_log`` finds what a function wrote that ran by itself; another invoker may have one too.
    """
    from pytest_fileflow.toolbox import invoking

    return invoking(fileflow_clients, fileflow_secrets.masked, fileflow_allow)


@pytest.fixture
def fileflow_run(
    request: pytest.FixtureRequest,
    s3_endpoint: Callable[..., Endpoint],
    sftp_endpoint: Callable[..., Endpoint],
    transfer_invoker: Callable[..., Started],
    fileflow_secrets: Secrets,
) -> Report:
    """Return the report of this item's run; an error here means that the tester, not the flow, is at fault."""
    from pytest_fileflow.plugin import REPORT, SESSION
    from pytest_fileflow.toolbox import Toolbox

    session = request.config.stash[SESSION]
    toolbox = Toolbox(s3_endpoint, sftp_endpoint, transfer_invoker, fileflow_secrets.credentials)
    with session.waiting():
        report = session.launcher().run(request.node, toolbox, session.provision)
    if report is None:
        pytest.skip("not begun: the session is ending")
    request.node.stash[REPORT] = report
    if report.error:
        pytest.fail(report.error, pytrace=False)
    return report
