"""
Create the bucket ``bertjob`` on the S3 gateway, with a request signed by hand.

The signature is written out because the operator's image has no S3 client and one request is all we need.
"""

import hashlib
import hmac
import http.client
import os
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit

BUCKET = "bertjob"

_EMPTY = hashlib.sha256(b"").hexdigest()
_OK = {200, 409}  # 409: it is there already


def signed_headers(
    method: str, path: str, *, host: str, region: str, keys: tuple[str, str], at: datetime
) -> dict[str, str]:
    """
    Return the headers of one S3 request with an empty body.

    Args:
        method: HTTP method.
        path: absolute path, already percent-encoded, without a query.
        host: value of the Host header, port included.
        region: region of the server.
        keys: access key and secret key.
        at: time of the request, UTC; servers refuse one that is 15 minutes off.

    Source: AWS Signature Version 4, "Create a signed AWS API request" (IAM User Guide).

    """
    day, moment = at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = f"{method}\n{path}\n\n{lines}\n{names}\n{_EMPTY}"
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys[1]}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"Host": host, "X-Amz-Content-Sha256": _EMPTY, "X-Amz-Date": moment, "Authorization": credential}


def create_bucket(endpoint: str, *, region: str, keys: tuple[str, str]) -> None:
    """Create the bucket; RuntimeError when the gateway refuses."""
    target = urlsplit(endpoint)
    assert target.hostname is not None, f"an endpoint without a host: {endpoint}"
    path = f"/{BUCKET}"
    headers = signed_headers("PUT", path, host=target.netloc, region=region, keys=keys, at=datetime.now(UTC))
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=10)
    try:
        connection.request("PUT", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(500)
    finally:
        connection.close()
    if answer.status not in _OK:
        msg = f"cannot create bucket {BUCKET} at {endpoint}: got {answer.status}, expected 200: {body!r}"
        raise RuntimeError(msg)


if __name__ == "__main__":
    _, given_endpoint, given_region = sys.argv
    create_bucket(
        given_endpoint, region=given_region, keys=(os.environ["ROOT_ACCESS_KEY"], os.environ["ROOT_SECRET_KEY"])
    )
