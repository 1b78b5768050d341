"""Requests that nobody who means well sends: a seeded stream of all kinds, for tests and
`benchmarks/hostile.py`.
"""

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Files = dict[str, bytes]
GARBAGE = [
    "",
    " ",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "0",
    "0.5",
    "1e9",
    "null",
    "None",
    "true",
    "[]",
    "{}",
    "0x10",
    "\0",
    "\ud83c\udf04".encode("utf-16", "surrogatepass").decode("utf-16"),
    "'; --",
    "../../etc/passwd",
    "9" * 5000,
    "x" * 300_000,
    "[" * 100_000,
    "%s%n",
    "winter\nsummer",
]
FIELDS = {
    "translate": {
        "to": "winter",
        "source": "summer",
        "samples": "2",
        "seed": "1",
        "format": "png",
        "model": "m",
    },
    "extend": {
        "domain": "summer",
        "right": "8",
        "left": "4",
        "paste": "2",
        "draw": "top_k=4",
        "seed": "1",
    },
    "complete": {"domain": "summer", "keep": "left", "draw": "temperature=0.9", "paste": "1"},
    "generate": {
        "domain": "winter",
        "width": "32",
        "height": "24",
        "count": "2",
        "draw": "context=0.5",
    },
    "transition": {"domain": "summer", "to": "winter", "direction": "radial"},
    "compose": {"domain": "summer", "steps": '[{"extend": {"right": 8}}]'},
}
NUMBERS: list[Any] = [
    -1,
    0,
    1e-300,
    0.999999,
    255,
    1e9,
    10**30,
    True,
    None,
    "8",
    [8],
    float("nan"),
    float("inf"),
]
DRAWS = [
    "temperature",
    "top_k",
    "top_p",
    "context",
    "windows",
    "steps",
    "order",
    "guidance",
    "precision",
    "heat",
]


class Sent(NamedTuple):
    """One request, as httpx takes it."""

    method: str
    path: str
    options: dict[str, Any]
    patience: float | None = None  # seconds after which the client goes


class Attacker:
    """Draws hostile requests, the same for the same seed.

    Args:
        corpus: images that are none, or no good ones.
        seed: of the draws.
    """

    def __init__(self, corpus: Files, seed: int):
        self._random = random.Random(seed)
        self._corpus = list(corpus.values())
        self.photograph = png(24, 32)

    def requests(self, count: int, *, panoramas: bool) -> Iterator[Sent]:
        """So many requests, of all kinds in turn; `panoramas` are so large that no client waits for
        them.
        """
        kinds: list[Callable[[], Sent]] = [
            self._image,
            self._flipped,
            self._type,
            self._step,
            self._nested,
            self._many,
            self._body,
            self._twice,
            self._image,
            self._flipped,
            self._type,
            self._step,
            self._header,
            self._bomb,
        ]
        for number in range(count):
            yield (
                self._panorama()
                if panoramas and number % 25 == 24
                else kinds[number % len(kinds)]()
            )

    def _image(self) -> Sent:
        """A file of the corpus, or a picture of a rare format."""
        route = self._random.choice(["translate", "extend", "complete", "transition"])
        data = self._random.choice([*self._corpus, *_rare()])
        files = [("image", data)] + [
            ("style", self._random.choice([data, self.photograph])) for _ in range(2)
        ]
        return self._post(
            route, files=files if route == "transition" else files[: self._random.choice([1, 2])]
        )

    def _flipped(self) -> Sent:
        """A picture some of whose bytes are others, in its header more than elsewhere."""
        kind = self._random.choice(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
        data = bytearray(_file(kind))
        for _ in range(self._random.choice([1, 3, 10])):
            place = self._random.randrange(min(len(data), self._random.choice([40, 200, 10**6])))
            data[place] = self._random.randrange(256)
        if self._random.random() < 0.3:
            del data[self._random.randrange(len(data)) :]
        return self._post("translate", files=[("image", bytes(data))])

    def _type(self) -> Sent:
        """A field of the wrong type, or one that is none."""
        route = self._random.choice(list(FIELDS))
        field = self._random.choice([*FIELDS[route], "draw", "unknown"])
        fields = FIELDS[route] | {field: self._random.choice(GARBAGE)}
        return self._post(route, fields=fields)

    def _step(self) -> Sent:
        """Steps with numbers that nobody means."""
        number = self._random.choice(NUMBERS)
        steps = self._random.choice(
            [
                [{"extend": {self._random.choice(["left", "top", "right"]): number}}],
                [{"extend": {"right": 8, "draw": {self._random.choice(DRAWS): number}}}],
                [{"extend": {"right": 8}}, {"paste": {"feather": number}}],
                [{"extend": {"right": 8}}, {"paste": {"feather": 99_999_999}}],
                [
                    {
                        "transition": {
                            "to": "winter",
                            "styles": ["s"] * self._random.choice([1, 2, 17, 20_000]),
                        }
                    }
                ],
                [{"generate": {"domain": "summer", "width": number}}],
                [{"extend": {"left": 1}}] * self._random.choice([3, 17, 4000]),
                [{"complete": {"keep": "left", "mask": "s"}}, {"translate": {"to": number}}],
                number,
                [number],
                {"extend": number},
                [{"extend": number}],
                [{"stretch": {}}],
            ]
        )
        fields = {"domain": self._random.choice(["summer", "autumn"]), "steps": json.dumps(steps)}
        return self._post(
            "compose",
            fields=fields,
            files=[("image", self.photograph), ("pictures", self.photograph)],
        )

    def _nested(self) -> Sent:
        """JSON that is deep, long or not JSON."""
        depth = self._random.choice([10, 900, 40_000, 100_000, 400_000])
        texts = [
            "[" * depth,
            "[" * depth + "]" * depth,
            '{"a":' * depth,
            '[{"extend":{"draw":' + "[" * depth,
            "[" + "1," * depth,
            '"' + "\\ud800" * 99 + '"',
            '[{"translate":{"to":"winter","style":"\\ud800"}}]',
            "9" * depth,
            "[1e999]",
            "﻿[]",
            "nul",
        ]
        fields = {"domain": "summer", "steps": self._random.choice(texts)}
        return self._post("compose", fields=fields)

    def _many(self) -> Sent:
        """More files, or more pixels together, than anybody needs."""
        data, count = self._random.choice(
            [(self.photograph, 60), (_blank(1900, 1900), 16), (_blank(1000, 1000), 14)]
        )
        route, field = self._random.choice([("transition", "style"), ("compose", "pictures")])
        fields = (
            {"to": "winter"}
            if route == "transition"
            else {"domain": "summer", "steps": '[{"paste": {}}]'}
        )
        return self._post(route, fields=fields, files=[("image", data), *[(field, data)] * count])

    def _body(self) -> Sent:
        """What is no form, or a broken one."""
        body, kind = self._random.choice(
            [
                (b'{"to": "winter"}', "application/json"),
                (self.photograph, "image/png"),
                (self.photograph, None),
                (b"", "multipart/form-data"),
                (b"x" * 5000, "multipart/form-data; boundary=x"),
                (
                    b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
                    "multipart/form-data; boundary=x",
                ),
                (
                    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc',
                    "multipart/form-data; boundary=x; charset=utf-7",
                ),
                (
                    b'--x\r\nContent-Disposition: form-data; name="image"; '
                    b'filename=""\r\n\r\n\r\n--x\r\nContent-Disposition: '
                    b'form-data; name="to"\r\n\r\nwinter\r\n--x--\r\n',
                    "multipart/form-data; boundary=x",
                ),
                (b"a&" * 50_000, "application/x-www-form-urlencoded"),
                (b"to=%ff%00&image=1", "application/x-www-form-urlencoded"),
                (b"x" * (21 << 20), "multipart/form-data; boundary=x"),
            ]
        )
        headers = {"Content-Type": kind} if kind else {}
        return Sent("POST", self._path(), {"content": body, "headers": headers})

    def _twice(self) -> Sent:
        """Fields that come twice, files that come as text, options in the query."""
        files: Any = self._random.choice(
            [
                [("image", self.photograph), ("to", (None, "winter")), ("to", (None, "summer"))],
                [("image", self.photograph), ("image", png(8, 8)), ("to", (None, "winter"))],
                [("image", (None, "photo.png")), ("to", (None, "winter"))],
                [("image", self.photograph), ("style", (None, "")), ("to", (None, "winter"))],
            ]
        )
        query = self._random.choice(["", "?to=winter", "?" + "a" * 5000])
        return Sent("POST", f"/v1/translate{query}", {"files": files})

    def _header(self) -> Sent:
        """Headers and methods that servers see now and then."""
        accepts = [
            "image/jpg",
            "*",
            "image/avif",
            "text/html",
            "image/png;q=nan",
            ",;q=,=;",
            "image/png;q=0, */*",
            "*/*;q=0",
            "a" * 999,
        ]
        accept = self._random.choice(accepts)
        method = self._random.choice(
            ["HEAD", "OPTIONS", "DELETE", "PUT", "TRACE", "POST", "POST", "POST"]
        )
        path = self._random.choice(
            ["/healthz", "/readyz", "/docs", "/v1/models", "/openapi.json", "/v2", "//", "/%00"]
        )
        if method == "POST":
            return self._post("translate", headers={"Accept": accept})
        return Sent(method, path, {"headers": {"Accept": accept}})

    def _bomb(self) -> Sent:
        """Small files that are much work to read."""
        data = self._random.choice([_scans(3000), _blank(60_000, 60), _blank(2100, 2000)])
        return self._post("translate", files=[("image", data)])

    def _panorama(self) -> Sent:
        sent = self._post(
            "translate", files=[("image", _blank(2000, self._random.choice([2000, 1200])))]
        )
        return sent._replace(patience=2)

    def _post(
        self,
        route: str,
        *,
        fields: dict[str, str] | None = None,
        files: list[tuple[str, bytes]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Sent:
        images = (
            files
            if files is not None
            else []
            if route == "generate"
            else [("image", self.photograph)]
        )
        if route == "transition" and files is None:
            images += [("style", self.photograph)] * 2
        texts = [
            (name, (None, value))
            for name, value in (FIELDS[route] if fields is None else fields).items()
        ]
        parts: list[Any] = [*((field, ("s", data)) for field, data in images), *texts]
        return Sent("POST", f"/v1/{route}", {"files": parts, "headers": headers or {}})

    def _path(self) -> str:
        return f"/v1/{self._random.choice(list(FIELDS))}"


def files_of(folder: Path) -> Files:
    """Files of a folder of hostile images that fit into a request, by name."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".txt", ".json")
    ]
    return {
        path.name: path.read_bytes()
        for path in files
        if path.stat().st_size < 19 << 20 and not path.is_symlink()
    }


def _file(kind: str, height: int = 24, width: int = 32) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def png(height: int, width: int) -> bytes:
    return _file("PNG", height, width)


def _blank(height: int, width: int) -> bytes:
    """Many pixels in few bytes."""
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def _rare() -> list[bytes]:
    """AVIF, JPEG 2000, and the beginnings of HEIC, camera and other files."""
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    return [
        _file("AVIF"),
        _file("JPEG2000"),
        heic,
        b"\0\0\0\x20ftypcrx " + bytes(99),
        b"8BPS\0\1" + bytes(99),
        b"%PDF-1.7",
        b"\x1f\x8b" + bytes(50),
        b"P6 9999999 9999999 255 ",
        _file("AVIF")[:60],
    ]


def _scans(count: int) -> bytes:
    """A JPEG of very many scans, each of which goes over the whole picture."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]
