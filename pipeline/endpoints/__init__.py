"""What the daemon tells over HTTP: /metrics, /healthz, /readyz and /status.

`pages` knows what is asked for and what is answered; `server` knows sockets, TLS, and clients that behave badly;
`listening` turns settings into a socket and a TLS context, or into a sentence about what is wrong with them.
"""

from pipeline.endpoints.pages import Health
from pipeline.endpoints.server import Endpoints

__all__ = ("Endpoints", "Health")
