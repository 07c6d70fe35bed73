"""A server of Spark Connect that answers one question, which version it is, and prints its port.

    fake_server.py VERSION [TOKEN]

With a token it refuses whoever does not send that token. It ends with its standard input.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

METHOD = "/spark.connect.SparkConnectService/AnalyzePlan"


def message(field, content):
    """A field of a Protocol Buffers message that has fewer than 128 bytes."""
    return bytes([field << 3 | 2, len(content)]) + content


class Connect(grpc.GenericRpcHandler):
    def __init__(self, version, token):
        # AnalyzePlanResponse: spark_version is field 8, and version is field 1 of it.
        self.answer = message(8, message(1, version.encode()))
        self.token = token

    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(self.analyze) if call.method == METHOD else None

    def analyze(self, _, context):
        sent = dict(context.invocation_metadata()).get("authorization")
        if self.token is not None and sent != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid authentication token")
        return self.answer


version, token = (sys.argv[1:] + [None])[:2]
server = grpc.server(ThreadPoolExecutor(2), handlers=[Connect(version, token)])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(None)
