"""A stand-in for Google Cloud Storage, for tests: fake_gcs.py PORT BUCKET

There is no real server of Google's to run on a developer's machine. This one keeps a bucket in memory, and
serves on 127.0.0.1 as much of the XML API as the Rust crate `object_store` speaks:

    GET, HEAD       an object: Range, If-Match, If-None-Match, ?generation=
    PUT             an object, or a copy of one (x-goog-copy-source): x-goog-if-generation-match
    DELETE          an object: x-goog-if-generation-match
    GET             the list: ?list-type=2 with prefix, delimiter, start-after, max-keys, continuation-token
    POST, PUT, DELETE   multipart uploads: ?uploads, ?uploadId=

Writes happen one at a time, so that of two writers with the same precondition one wins. A multipart upload takes no
precondition, as Google says of the real one: 400 NotImplemented. What is not in the list above is refused in the
same way: a condition that is passed over would make a test pass that should not. Nobody is asked who they are.

That a test passes here shows that asof does what the documentation of GCS asks for. It does not show that GCS
does what its documentation says.
"""

import base64
import hashlib
import re
import sys
import threading
import time
import uuid
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

GENERATION = "x-goog-if-generation-match"
COPY_SOURCE = "x-goog-copy-source"

# What a client may send besides what is kept with an object. Of other conditions and x-goog-... headers,
# the stand-in knows nothing.
KNOWN = {GENERATION, COPY_SOURCE, "x-goog-user-project"}
CONDITIONS = {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}
KEPT = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "x-goog-storage-class",
}
KEPT_PREFIX = "x-goog-meta-"


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status = status
        self.code = code


def not_implemented(what):
    return Refused(400, "NotImplemented", f"{what} is not implemented")


def not_found():
    return Refused(404, "NoSuchKey", "The specified key does not exist.")


def failed_precondition():
    return Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")


def quoted_md5(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class Object:
    def __init__(self, generation, data, kept):
        self.generation = generation
        self.data = data
        self.kept = kept
        self.etag = quoted_md5(data)
        self.modified = time.time()


class Upload:
    def __init__(self, key, kept):
        self.key = key
        self.kept = kept
        self.parts = {}


class Bucket:
    """The state. Every method is one step under the lock: nobody sees half of one."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.objects = {}
        self.uploads = {}
        self.generation = int(time.time() * 1e6)

    def get(self, key, generation=None):
        with self.lock:
            return self._get(key, generation)

    def put(self, key, data, kept, if_generation):
        with self.lock:
            self._check(key, if_generation)
            return self._put(key, data, kept)

    def copy(self, source, key, if_generation):
        with self.lock:
            found = self._get(source)
            self._check(key, if_generation)
            return self._put(key, found.data, dict(found.kept))

    def delete(self, key, if_generation):
        with self.lock:
            self._get(key)
            self._check(key, if_generation)
            del self.objects[key]

    def all(self):
        with self.lock:
            return dict(self.objects)

    def begin(self, key, kept):
        with self.lock:
            upload_id = uuid.uuid4().hex
            self.uploads[upload_id] = Upload(key, kept)
            return upload_id

    def add_part(self, upload_id, key, number, data):
        with self.lock:
            self._upload(upload_id, key).parts[number] = data

    def complete(self, upload_id, key, numbers):
        with self.lock:
            upload = self._upload(upload_id, key)
            if not numbers or numbers != sorted(set(numbers)) or not upload.parts.keys() >= set(numbers):
                raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
            del self.uploads[upload_id]
            return self._put(key, b"".join(upload.parts[number] for number in numbers), upload.kept)

    def abort(self, upload_id, key):
        with self.lock:
            self._upload(upload_id, key)
            del self.uploads[upload_id]

    def _get(self, key, generation=None):
        found = self.objects.get(key)
        if found is None or generation not in (None, str(found.generation)):
            raise not_found()
        return found

    def _check(self, key, if_generation):
        """0 stands for: there is no object yet."""
        if if_generation is None:
            return
        found = self.objects.get(key)
        if if_generation != str(found.generation if found else 0):
            raise failed_precondition()

    def _put(self, key, data, kept):
        # Never the same number twice, even for a key that was deleted.
        self.generation += 1
        self.objects[key] = Object(self.generation, data, kept)
        return self.objects[key]

    def _upload(self, upload_id, key):
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        return upload


def xml(root, *children):
    return f"<?xml version='1.0' encoding='UTF-8'?><{root}>{''.join(children)}</{root}>".encode()


def element(name, value):
    return f"<{name}>{escape(str(value))}</{name}>"


def list_entry(key, found):
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found.modified))
    return "".join(
        [
            "<Contents>",
            element("Key", key),
            element("Generation", found.generation),
            element("LastModified", f"{seconds}.{int(found.modified % 1 * 1000):03d}Z"),
            element("ETag", found.etag),
            element("Size", len(found.data)),
            "</Contents>",
        ]
    )


def list_page(bucket, prefix, delimiter, start_after, token, limit):
    """One page. The token is the last key or common prefix of the page before."""
    entries, last, truncated = [], None, False
    objects = bucket.all()
    for key in sorted(objects, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= start_after.encode():
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        common = None if end < 0 else key[: end + len(delimiter)]
        name = common or key
        if name == last or name.encode() <= token.encode():
            continue
        if len(entries) == limit:
            truncated = True
            break
        last = name
        if common:
            entries.append(f"<CommonPrefixes>{element('Prefix', common)}</CommonPrefixes>")
        else:
            entries.append(list_entry(key, objects[key]))
    head = [
        element("Name", bucket.name),
        element("Prefix", prefix),
        element("KeyCount", len(entries)),
        element("IsTruncated", str(truncated).lower()),
    ]
    if truncated:
        # Encoded, so that no client can take it for a key.
        head.append(element("NextContinuationToken", base64.urlsafe_b64encode(last.encode()).decode()))
    return xml("ListBucketResult", *head, *entries)


def byte_range(header, size):
    """First and last byte, or None if the header is to be passed over, as HTTP has it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        first, last = max(0, size - int(last)), size - 1
    else:
        first, last = int(first), min(int(last), size - 1) if last else size - 1
        if first < size and last < first:
            return None
    if first >= size:
        raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
    return first, last


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without these, small answers wait for the client's acknowledgements.
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_request(self):
        try:
            # Read it even if the request is refused: the next one follows on the same connection.
            self.body = self.read_body()
            url = urlsplit(self.path)
            self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            bucket, _, key = url.path.lstrip("/").partition("/")
            self.key = unquote(key)
            if unquote(bucket) != self.server.bucket.name:
                raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
            self.check_headers()
            getattr(self, f"serve_{self.command.lower()}")(self.server.bucket)
        except Refused as refused:
            body = xml("Error", element("Code", refused.code), element("Message", refused))
            self.answer(refused.status, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def serve_get(self, bucket):
        if not self.key:
            return self.serve_list(bucket)
        self.allow_query("generation")
        found = bucket.get(self.key, self.query.get("generation"))
        headers = {
            "Content-Type": "application/octet-stream",
            "Last-Modified": formatdate(found.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            **self.identity(found),
            **found.kept,
        }
        if_match = self.headers.get("If-Match")
        if if_match and if_match != "*" and found.etag not in if_match:
            raise failed_precondition()
        if_none_match = self.headers.get("If-None-Match")
        if if_none_match and (if_none_match == "*" or found.etag in if_none_match):
            return self.answer(304, b"", headers)
        wanted = byte_range(self.headers.get("Range"), len(found.data))
        if wanted is None:
            return self.answer(200, found.data, headers)
        first, last = wanted
        headers["Content-Range"] = f"bytes {first}-{last}/{len(found.data)}"
        return self.answer(206, found.data[first : last + 1], headers)

    serve_head = serve_get

    def serve_list(self, bucket):
        self.allow_query("list-type", "prefix", "delimiter", "start-after", "max-keys", "continuation-token")
        if self.query.get("list-type") != "2":
            raise not_implemented("a list that is not of type 2")
        if self.query.get("delimiter") and self.query.get("start-after"):
            raise not_implemented("start-after with a delimiter")
        page = list_page(
            bucket,
            prefix=self.query.get("prefix", ""),
            delimiter=self.query.get("delimiter", ""),
            start_after=self.query.get("start-after", ""),
            token=base64.urlsafe_b64decode(self.query.get("continuation-token", "")).decode(),
            limit=min(int(self.query.get("max-keys", 1000)), 1000),
        )
        self.answer(200, page)

    def serve_put(self, bucket):
        if not self.key:
            raise not_implemented("making a bucket")
        if_generation = self.headers.get(GENERATION)
        source = self.headers.get(COPY_SOURCE)
        if "uploadId" in self.query:
            self.allow_query("uploadId", "partNumber")
            if if_generation is not None or source is not None:
                raise not_implemented("a condition or a copy in a part of an upload")
            bucket.add_part(self.query["uploadId"], self.key, int(self.query["partNumber"]), self.body)
            return self.answer(200, b"", {"ETag": quoted_md5(self.body)})
        self.allow_query()
        if source is None:
            stored = bucket.put(self.key, self.body, self.kept(), if_generation)
            return self.answer(200, b"", self.identity(stored))
        source_bucket, _, source_key = source.lstrip("/").partition("/")
        if unquote(source_bucket) != bucket.name:
            raise not_implemented("a copy from another bucket")
        stored = bucket.copy(unquote(source_key), self.key, if_generation)
        return self.answer(200, xml("CopyObjectResult", element("ETag", stored.etag)), self.identity(stored))

    def serve_post(self, bucket):
        if self.headers.get(GENERATION) is not None:
            raise not_implemented(f"{GENERATION} with a multipart upload")
        if "uploads" in self.query:
            self.allow_query("uploads")
            upload_id = bucket.begin(self.key, self.kept())
            children = [element("Bucket", bucket.name), element("Key", self.key), element("UploadId", upload_id)]
            return self.answer(200, xml("InitiateMultipartUploadResult", *children))
        self.allow_query("uploadId")
        numbers = [int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)\s*<", self.body)]
        stored = bucket.complete(self.query.get("uploadId"), self.key, numbers)
        children = [element("Bucket", bucket.name), element("Key", self.key), element("ETag", stored.etag)]
        return self.answer(200, xml("CompleteMultipartUploadResult", *children), self.identity(stored))

    def serve_delete(self, bucket):
        if "uploadId" in self.query:
            self.allow_query("uploadId")
            bucket.abort(self.query["uploadId"], self.key)
        else:
            self.allow_query()
            bucket.delete(self.key, self.headers.get(GENERATION))
        self.answer(204)

    def check_headers(self):
        reading = self.command in ("GET", "HEAD")
        for name in map(str.lower, self.headers):
            known = name in KNOWN or name in KEPT or name.startswith(KEPT_PREFIX)
            if name.startswith("x-goog-") and not known:
                raise not_implemented(name)
            if name in CONDITIONS and not (reading and name in ("if-match", "if-none-match")):
                raise not_implemented(f"{name} with {self.command}")
            if name == GENERATION and reading:
                raise not_implemented(f"{name} with {self.command}")

    def allow_query(self, *names):
        for name in self.query:
            if name not in names:
                raise not_implemented(f"?{name} here")

    def kept(self):
        return {
            name: value
            for name, value in self.headers.items()
            if name.lower() in KEPT or name.lower().startswith(KEPT_PREFIX)
        }

    def identity(self, found):
        return {"ETag": found.etag, "x-goog-generation": str(found.generation)}

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def answer(self, status, body=b"", headers=None):
        headers = {name.title(): value for name, value in (headers or {}).items()}
        headers.setdefault("Content-Type", "application/xml")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Tests let dozens of writers race.
    request_queue_size = 128


def main():
    port, bucket = sys.argv[1:]
    server = Server(("127.0.0.1", int(port)), Handler)
    server.bucket = Bucket(bucket)
    server.serve_forever()


if __name__ == "__main__":
    main()
