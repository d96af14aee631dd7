"""Ask a part whether it is ready."""

import http.client
import ssl
from urllib.parse import urlsplit

from bertjob_local.parts.part import Probe

TIMEOUT_S = 1.0


def answers(probe: Probe, *, trust: ssl.SSLContext) -> bool:
    """Return whether the probe gets 200 and a body that it accepts; any failure to answer is a no."""
    target = urlsplit(probe.url)
    assert target.hostname is not None, f"a probe without a host: {probe.url}"
    connection: http.client.HTTPConnection
    if target.scheme == "https":
        connection = http.client.HTTPSConnection(target.hostname, target.port, timeout=TIMEOUT_S, context=trust)
    else:
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {probe.token}"} if probe.token else {}
    try:
        connection.request("GET", target.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status == http.client.OK and (probe.accepts is None or probe.accepts(body))
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
