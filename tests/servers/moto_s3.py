"""moto's S3 server, one request at a time. Takes the arguments of `moto_server`.

moto looks whether a precondition holds, and stores the object some steps later. While it copies a body of some
megabytes, other requests come between: of several writers that must not replace an object more than one wins, which
no S3 does. So each request waits for the one before it.

moto also passes over `If-Match` when a multipart upload is completed, which S3 honours. So it is looked at here, and answered as S3
does: 412 where another object has the name, 404 where none has it.
"""

import io
import threading
import urllib.parse

import moto.server
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{}</Code><Message>{}</Message>{}<RequestId>0</RequestId></Error>"""
FAILED = "At least one of the pre-conditions you specified did not hold"


def broken_condition(environ):
    """The status and error with which S3 refuses to complete an upload, if its If-Match does not hold."""
    if_match = environ.get("HTTP_IF_MATCH")
    query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""))
    if if_match is None or environ["REQUEST_METHOD"] != "POST" or "uploadId" not in query:
        return None
    path = environ["PATH_INFO"].encode("latin-1").decode()
    _, bucket, key = path.split("/", 2)
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(bucket, key)
    if found is None:
        return "404 Not Found", ERROR.format("NoSuchKey", "The specified key does not exist.", "")
    if if_match != "*" and if_match.strip('"') != found.etag.strip('"'):
        return "412 Precondition Failed", ERROR.format("PreconditionFailed", FAILED, "<Condition>If-Match</Condition>")
    return None


class OneAtATime(moto.server.DomainDispatcherApplication):
    turn = threading.Lock()

    def __call__(self, environ, start_response):
        # First the body, which comes as slowly as the client sends it.
        body = environ["wsgi.input"]
        if environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(body.read(int(environ["CONTENT_LENGTH"])))
        elif environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = io.BytesIO(body.read())
        with self.turn:
            broken = broken_condition(environ)
            if broken:
                status, error = broken
                body = error.encode()
                start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
                return [body]
            return super().__call__(environ, start_response)


if __name__ == "__main__":
    moto.server.DomainDispatcherApplication = OneAtATime
    moto.server.main()
