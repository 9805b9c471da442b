"""Headless Chromium: takes the picture of a page that is served from a folder, and makes the file small."""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from PIL import Image

PAGE: Final = Path(__file__).parent / "page"
COLOURS: Final = 256
TIMEOUT_S: Final = 120
CHROMIUM_MISSING: Final = "chromium is not installed; install Debian's package: apt-get install -y chromium"


class PictureFailed(Exception):
    """A picture could not be taken; the message names the cause and the fix."""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, picture: bytes, **options: Any) -> None:
        self._picture = picture
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Answer with the picture's data or a file of the page."""
        if self.path != "/picture.json":
            super().do_GET()
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self._picture)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def build() -> Path:
    """Install the page's pinned packages where they are missing, bundle it if it has changed, and return its folder."""
    npm = shutil.which("npm")
    if npm is None:
        raise PictureFailed("npm is not installed; the page of the pictures is built with it (Node 20 or later)")
    if not (PAGE / "node_modules").is_dir():
        _run([npm, "ci", "--no-audit", "--no-fund"])
    built = PAGE / "dist" / "index.html"
    sources = [PAGE / "build.mjs", PAGE / "package-lock.json", *(PAGE / "src").iterdir()]
    if not built.exists() or built.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        _run([npm, "run", "--silent", "build"])
    return built.parent


def take(folder: Path, picture: dict[str, Any], target: Path) -> None:
    """Draw a picture with the built page and write it as a PNG of at most 256 colours."""
    with serving(folder, json.dumps(picture).encode()) as address:
        shoot(address, picture["width"], picture["height"], target)


def shoot(address: str, width: int, height: int, target: Path) -> None:
    """Take the top left `width` times `height` pixels of a page.

    Raises:
        PictureFailed: Chromium is missing or wrote nothing.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise PictureFailed(CHROMIUM_MISSING)
    with tempfile.TemporaryDirectory() as profile:
        raw = Path(profile) / "page.png"
        # The window is higher than the page, since a part of it may be taken by the browser's own bars.
        command = [
            chromium,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(
                "--force-device-scale-factor=1",
                "--virtual-time-budget=20000",
                "--run-all-compositor-stages-before-draw",
            ),
            *("--enable-logging=stderr", f"--user-data-dir={profile}/profile", f"--screenshot={raw}"),
            *(f"--window-size={width},{height + 200}", address),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        for line in done.stderr.splitlines():
            if "CONSOLE" in line and ("rror" in line or "arn" in line):
                print(f"  page: {line[:400]}")
        if not raw.exists():
            raise PictureFailed(f"chromium wrote no picture:\n{done.stderr[-2000:]}")
        shrink(raw, target, (width, height))


def shrink(raw: Path, target: Path, size: tuple[int, int]) -> None:
    """Cut a PNG to `size` and to a palette: a third of the bytes, and no visible difference."""
    with Image.open(raw) as image:
        cut = image.convert("RGB").crop((0, 0, *size))
        target.parent.mkdir(parents=True, exist_ok=True)
        cut.quantize(palette=_palette(cut), dither=Image.Dither.NONE).save(target, optimize=True)


def _palette(image: Image.Image) -> Image.Image:
    """Return the commonest colours unchanged, so that backgrounds keep theirs, and approximations of the rare ones."""
    colours: list[Any] = image.getcolors(image.width * image.height) or []
    common = sorted(colours, reverse=True)[: COLOURS // 2]
    rare = image.quantize(COLOURS - len(common), method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in common for part in colour] + rare)
    return palette


@contextmanager
def serving(folder: Path, picture: bytes = b"") -> Iterator[str]:
    """Serve a folder, and a picture's data as /picture.json, on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder, picture=picture))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=PAGE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PictureFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
