"""Bearer tokens as the test broker takes them: JSON web tokens without a signature."""

import base64
import json
import time
from typing import Final

HOUR: Final = 3_600.0


def unsecured_token(name: str, lifetime: float = HOUR) -> str:
    """Return a token of some user that is good for so many seconds from now on; below 0 it has expired."""
    now = time.time()
    claims = {"sub": name, "iat": now - HOUR, "exp": now + lifetime}
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return ".".join(parts) + "."
