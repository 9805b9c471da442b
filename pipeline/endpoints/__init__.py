"""What the daemon answers over HTTP: /metrics, /healthz, /readyz and /status.

`pages` makes the responses; `status` is the document of `/status`, also for those who read it; `server` handles
sockets, TLS and clients that misbehave; `listening` turns settings into a socket and a TLS context, or into a sentence
about what is wrong with them.
"""

from pipeline.endpoints.pages import Health
from pipeline.endpoints.server import Endpoints, ServerLimits

__all__ = ("Endpoints", "Health", "ServerLimits")
