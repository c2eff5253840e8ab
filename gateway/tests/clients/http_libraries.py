"""Uploads and downloads with Python's HTTP libraries, each in the forms that it writes by itself."""

import asyncio
import io
import json

import aiohttp
import httpx
import requests
import urllib3

import stage

GRAPH = f"{stage.BASE_URL}/v23.0"
MEDIA = f"{GRAPH}/{stage.NUMBER}/media"
UNVERSIONED = f"{stage.BASE_URL}/{stage.NUMBER}/media"
# The policy does not know this number.
NOT_OURS = f"{GRAPH}/9999/media"

BEARER = {"Authorization": f"Bearer {stage.TOKEN}"}
WHATSAPP = {"messaging_product": "whatsapp"}
PNG = stage.PHOTO.read_bytes()
ODD_NAME = 'Отчёт "1"; 50%.png'
# Larger than all the buffers on the way: who writes it must be read from, or be told.
VIDEO = bytes(16 * 1024 * 1024)
PATIENCE_S = 30


def seen(status: int, content: bytes) -> dict:
    try:
        return {"status": status, "json": json.loads(content)}
    except ValueError:
        return {"status": status, "bytes": stage.encoded(content)}


def pieces(body: bytes):
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


def form() -> tuple[bytes, str]:
    return urllib3.encode_multipart_formdata(
        {**WHATSAPP, "file": ("photo.png", PNG, "image/png")}
    )


def with_requests() -> dict:
    session = requests.Session()
    session.headers.update(BEARER)

    def ask(method: str, url: str, **how) -> dict:
        answer = session.request(method, url, timeout=PATIENCE_S, **how)
        return seen(answer.status_code, answer.content)

    def upload(url: str = MEDIA, **how) -> dict:
        return ask("POST", url, **how)

    file = {"file": ("photo.png", PNG, "image/png")}
    body, content_type = form()
    video = {"file": ("video.mp4", VIDEO, "video/mp4")}
    uploads = {
        "fields first": upload(files=file, data={**WHATSAPP, "type": "image/png"}),
        "file first": upload(
            files=[
                ("file", ("photo.png", PNG, "image/png")),
                ("messaging_product", (None, "whatsapp")),
                ("ttl_minutes", (None, "90")),
            ]
        ),
        "in the query": upload(files=file, params={**WHATSAPP, "type": "image/png"}),
        "unversioned": upload(UNVERSIONED, files=file, data=WHATSAPP),
        "odd name": upload(files={"file": (ODD_NAME, PNG, "image/png")}, data=WHATSAPP),
        "empty name": upload(files={"file": ("", PNG, "image/png")}, data=WHATSAPP),
        "no name": upload(files={"file": (None, PNG, "image/png")}, data=WHATSAPP),
        "chunked": upload(data=pieces(body), headers={"Content-Type": content_type}),
    }
    media = uploads["fields first"]["json"]["id"]
    metadata = ask("GET", f"{GRAPH}/{media}", headers={"Content-Type": "application/json"})
    url = metadata["json"]["url"]
    downloads = {
        "bearer": ask("GET", url),
        "empty bearer": ask("GET", url, headers={"Authorization": "Bearer "}),
        "no bearer": ask("GET", url, headers={"Authorization": None}),
        "glued token": ask("GET", f"{url}?access_token={stage.TOKEN}", headers={"Authorization": None}),
        "foreign host": ask("GET", url, headers={"Host": "lookaside.fbsbx.com"}),
        "no user agent": ask("GET", url, headers={"User-Agent": None}),
        "content type": ask("GET", url, headers={"Content-Type": "application/json"}),
    }
    deleted = ask(
        "DELETE",
        f"{GRAPH}/{media}",
        params={"phone_number_id": stage.NUMBER},
        headers={"Content-Type": "application/json"},
    )
    refused = {
        "by its first part": upload(files=video, data={"ttl_minutes": "59", **WHATSAPP}),
        "by its path": upload(NOT_OURS, files=video, data=WHATSAPP),
    }
    return {"uploads": uploads, "downloads": downloads, "deleted": deleted, "refused": refused}


def with_httpx() -> dict:
    client = httpx.Client(headers=BEARER, timeout=PATIENCE_S)

    def ask(method: str, url: str, **how) -> dict:
        answer = client.request(method, url, **how)
        return seen(answer.status_code, answer.content)

    def upload(url: str = MEDIA, **how) -> dict:
        return ask("POST", url, **how)

    file = {"file": ("photo.png", PNG, "image/png")}
    body, content_type = form()
    video = {"file": ("video.mp4", VIDEO, "video/mp4")}
    uploads = {
        "fields first": upload(files=file, data={**WHATSAPP, "type": "image/png"}),
        "file first": upload(
            files={
                **file,
                "messaging_product": (None, "whatsapp"),
                "ttl_minutes": (None, "90"),
            }
        ),
        "unversioned": upload(UNVERSIONED, files=file, data=WHATSAPP),
        "odd name": upload(files={"file": (ODD_NAME, PNG, "image/png")}, data=WHATSAPP),
        "chunked": upload(content=pieces(body), headers={"Content-Type": content_type}),
    }
    media = uploads["fields first"]["json"]["id"]
    url = ask("GET", f"{GRAPH}/{media}", params={"phone_number_id": stage.NUMBER})["json"]["url"]
    anonymous = httpx.Client(timeout=PATIENCE_S)

    def download(url: str, **headers) -> dict:
        answer = anonymous.get(url, headers=headers)
        return seen(answer.status_code, answer.content)

    downloads = {
        "bearer": download(url, **BEARER),
        # httpx refuses to write the space after an empty bearer.
        "empty bearer": download(url, Authorization="Bearer"),
        "no bearer": download(url),
        "glued token": download(f"{url}?access_token={stage.TOKEN}"),
        "foreign host": download(url, Host="lookaside.fbsbx.com"),
    }
    deleted = ask("DELETE", f"{GRAPH}/{media}")
    refused = {
        "by its first part": upload(files=video, data={"ttl_minutes": "59", **WHATSAPP}),
        "by its path": upload(NOT_OURS, files=video, data=WHATSAPP),
    }
    return {"uploads": uploads, "downloads": downloads, "deleted": deleted, "refused": refused}


async def with_aiohttp() -> dict:
    # Its text parts say what they are before they say how they are called.
    def form(content: bytes = PNG, mime: str = "image/png", name: str = "photo.png", **fields):
        data = aiohttp.FormData()
        for field, value in {"ttl_minutes": "90", **WHATSAPP, **fields}.items():
            data.add_field(field, value, content_type="text/plain; charset=utf-8")
        data.add_field("file", io.BytesIO(content), content_type=mime, filename=name)
        return data

    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(headers=BEARER, timeout=timeout) as session:

        async def ask(method: str, url: str, **how) -> dict:
            async with session.request(method, url, **how) as answer:
                return seen(answer.status, await answer.read())

        async def upload(url: str = MEDIA, **how) -> dict:
            return await ask("POST", url, **how)

        uploads = {
            "fields first": await upload(data=form()),
            "unversioned": await upload(UNVERSIONED, data=form()),
            "odd name": await upload(data=form(name=ODD_NAME)),
            "chunked": await upload(data=form(), chunked=True),
        }
        media = uploads["fields first"]["json"]["id"]
        url = (await ask("GET", f"{GRAPH}/{media}"))["json"]["url"]
        deleted_later = f"{GRAPH}/{media}?phone_number_id={stage.NUMBER}"
        downloads = {
            "bearer": await ask("GET", url),
            "empty bearer": await ask("GET", url, headers={"Authorization": "Bearer "}),
            "no user agent": await ask("GET", url, skip_auto_headers=["User-Agent"]),
            "glued token": await ask("GET", f"{url}?access_token={stage.TOKEN}"),
        }
        async with aiohttp.ClientSession(timeout=timeout) as anonymous:
            async with anonymous.get(url) as answer:
                downloads["no bearer"] = seen(answer.status, await answer.read())
        deleted = await ask("DELETE", deleted_later)
        refused = {
            "by its first part": await upload(data=form(VIDEO, "video/mp4", ttl_minutes="59")),
            "by its path": await upload(NOT_OURS, data=form(VIDEO, "video/mp4")),
        }
    return {"uploads": uploads, "downloads": downloads, "deleted": deleted, "refused": refused}


stage.tell(
    {
        "requests": with_requests(),
        "httpx": with_httpx(),
        "aiohttp": asyncio.run(with_aiohttp()),
    }
)
