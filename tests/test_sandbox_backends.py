from __future__ import annotations

import subprocess
import sys

# In a process of its own: what one test has loaded would hide the race from the next.
PROGRAM = """
import io, sys, threading
from pytest_fileflow.sandbox import backends

sys.setswitchinterval(1e-5)
together, failed = threading.Barrier(4), []

def come(load):
    together.wait()
    try:
        load()
    except BaseException as error:
        failed.append(repr(error))

def request():
    environ = {"PATH_INFO": "/box", "REQUEST_METHOD": "PUT", "HTTP_HOST": "s3.amazonaws.com", "SERVER_NAME": "x",
               "SERVER_PORT": "80", "wsgi.url_scheme": "http", "QUERY_STRING": "", "wsgi.input": io.BytesIO()}
    b"".join(backends.application()(environ, lambda status, headers, *more: None))

doors = (backends.preload, lambda: backends.backend("s3"), lambda: backends.backend("sns", "us-east-1"), request)
threads = [threading.Thread(target=come, args=(door,)) for door in doors]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""


def test_moto_is_whole_for_whoever_comes_first():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert (answer.stdout, answer.stderr) == ("[]\n", "")
