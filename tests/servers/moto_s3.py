"""moto's S3 server, one request at a time. Takes the arguments of `moto_server`.

moto looks whether a precondition holds, and stores the object some steps later. While it copies a body of some
megabytes, other requests come between: of several writers that must not replace an object more than one wins, which
no S3 does. So each request waits for the one before it.
"""

import io
import threading

import moto.server


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
            return super().__call__(environ, start_response)


if __name__ == "__main__":
    moto.server.DomainDispatcherApplication = OneAtATime
    moto.server.main()
