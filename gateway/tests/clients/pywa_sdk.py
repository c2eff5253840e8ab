"""Drives pywa as its users do. The base URL is the only thing that is not as it came."""

from pywa import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types.templates import HeaderImage, TemplateLanguage

import stage


def client(token: str) -> WhatsApp:
    wa = WhatsApp(phone_id=stage.NUMBER, token=token, waba_id=stage.ACCOUNT)
    wa.api._session.base_url = f"{stage.BASE_URL}/v24.0"
    return wa


def outcome(call) -> dict:
    """What a developer sees who catches pywa's errors."""
    try:
        return {"answer": repr(call())}
    except WhatsAppError as error:
        return {
            "class": type(error).__name__,
            "family": type(error).__bases__[0].__name__,
            "status": error.status_code,
            "code": error.code,
            "subcode": error.subcode,
            "type": error.type,
            "details": error.details,
        }


def upload(wa: WhatsApp, ttl: int):
    return wa.upload_media(
        media=stage.PHOTO.read_bytes(),
        mime_type="image/png",
        filename="photo.png",
        ttl=ttl,
    )


def main() -> None:
    wa = client(stage.TOKEN)
    report = {"text": wa.send_text(to=stage.RECIPIENT, text="Hello").id}

    media = upload(wa, 180)
    report["media"] = media.id
    report["image"] = wa.send_image(to=stage.RECIPIENT, image=media.id, caption="Yours").id
    report["template"] = wa.send_template(
        to=stage.RECIPIENT,
        name="receipt",
        language=TemplateLanguage.ENGLISH_US,
        params=[HeaderImage.params(image=media.id)],
    ).id

    metadata = wa.get_media_url(media.id)
    report["metadata"] = {
        "url": metadata.url,
        "mime_type": metadata.mime_type,
        "sha256": metadata.sha256,
        "file_size": int(metadata.file_size),
    }
    report["bytes"] = stage.encoded(wa.get_media_bytes(metadata.url))
    saved = wa.download_media(url=metadata.url, path=stage.FOLDER, filename="saved.png")
    report["saved"] = stage.encoded(saved.read_bytes())
    report["deleted"] = bool(wa.delete_media(media.id, phone_id=stage.NUMBER))

    number = wa.get_business_phone_number()
    settings = wa.get_business_phone_number_settings()
    report["reads"] = {
        "number": number.id,
        "numbers": sorted(number.id for number in wa.get_business_phone_numbers()),
        "storage": settings.storage_configuration.status.value.upper(),
        "account": wa.get_business_account().id,
    }

    report["refused"] = {
        "ttl": outcome(lambda: upload(wa, 2880)),
        "others_media": outcome(
            lambda: wa.send_image(to=stage.RECIPIENT, image=stage.OTHERS_MEDIA)
        ),
        "deleted_media": outcome(lambda: wa.send_image(to=stage.RECIPIENT, image=media.id)),
        "unknown_operation": outcome(lambda: wa.api.send_raw_request("GET", "/me")),
        "stranger": outcome(
            lambda: client("nobody's").send_text(to=stage.RECIPIENT, text="Hello")
        ),
    }
    stage.tell(report)


main()
