"""Drives heyoo as its users do. The base URLs are the only thing that is not as it came.

heyoo raises nothing: sends return whatever JSON came, everything else returns `None` and logs the answer.
"""

import logging

from heyoo import WhatsApp

import stage

logged = []


class Remember(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logged.append(record.getMessage())


def client(token: str) -> WhatsApp:
    wa = WhatsApp(token, phone_number_id=stage.NUMBER)
    wa.base_url = wa.v15_base_url = f"{stage.BASE_URL}/v20.0"
    wa.url = f"{wa.base_url}/{stage.NUMBER}/messages"
    return wa


def outcome(call) -> dict:
    """What a developer sees: what came back, and what the log says."""
    logged.clear()
    try:
        returned = call()
    except KeyError as error:
        returned = repr(error)
    return {"returned": returned, "logged": "\n".join(logged)}


def main() -> None:
    # As a service would that wants to see heyoo's answers.
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(Remember())

    wa = client(stage.TOKEN)
    report = {"text": wa.send_message("Hello", stage.RECIPIENT)["messages"][0]["id"]}

    media = wa.upload_media(str(stage.PHOTO))["id"]
    report["media"] = media
    image = wa.send_image(media, stage.RECIPIENT, caption="Yours", link=False)
    report["image"] = image["messages"][0]["id"]
    header = {"type": "header", "parameters": [{"type": "image", "image": {"id": media}}]}
    template = wa.send_template("receipt", stage.RECIPIENT, [header])
    report["template"] = template["messages"][0]["id"]

    url = wa.query_media_url(media)
    report["metadata"] = {"url": url}
    saved = wa.download_media(url, "image/png", str(stage.FOLDER / "saved"))
    with open(saved, "rb") as file:
        report["bytes"] = stage.encoded(file.read())
    report["deleted"] = wa.delete_media(media)["success"]

    page = stage.FOLDER / "page.html"
    page.write_text("<p>Hello</p>")
    report["refused"] = {
        "type": outcome(lambda: wa.upload_media(str(page))),
        "others_media": outcome(
            lambda: wa.send_image(stage.OTHERS_MEDIA, stage.RECIPIENT, link=False)
        ),
        "deleted_media": outcome(lambda: wa.query_media_url(media)),
        "unknown_operation": outcome(lambda: wa.query_media_url("me")),
        "stranger": outcome(lambda: client("nobody's").send_message("Hello", stage.RECIPIENT)),
    }
    stage.tell(report)


main()
