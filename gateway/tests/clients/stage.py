"""What the driver tells a script by its environment, and how a script tells what it saw."""

import base64
import json
import os
import pathlib
import sys

BASE_URL = os.environ["CURFEW_BASE_URL"]
TOKEN = os.environ["CURFEW_TOKEN"]
# The business number that the script sends from, and its account.
NUMBER = os.environ["CURFEW_NUMBER"]
ACCOUNT = os.environ["CURFEW_ACCOUNT"]
# A medium that another number uploaded.
OTHERS_MEDIA = os.environ["CURFEW_OTHERS_MEDIA"]
# A small PNG, and a folder that is the script's own.
PHOTO = pathlib.Path(os.environ["CURFEW_PHOTO"])
FOLDER = pathlib.Path(os.environ["CURFEW_FOLDER"])

RECIPIENT = "+15550100001"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def tell(report: dict) -> None:
    json.dump(report, sys.stdout)
