// Drives @kapso/whatsapp-cloud-api as its users do. The base URL is the only thing that is not as it came.

import { createRequire } from "node:module";
import { join } from "node:path";

import * as stage from "./stage.mjs";

// The package lies where the driver says, not beside this script.
const require = createRequire(join(process.env.CURFEW_TEST_NODE_MODULES, "..", "anything.js"));
const { GraphApiError, WhatsAppClient, buildTemplateSendPayload } = require("@kapso/whatsapp-cloud-api");

function client(accessToken) {
  return new WhatsAppClient({ accessToken, baseUrl: stage.baseUrl, graphVersion: "v24.0" });
}

// What a developer sees who catches the SDK's errors.
async function outcome(call) {
  try {
    return { answer: await call() };
  } catch (error) {
    return {
      class: error.constructor.name,
      is_graph_api_error: error instanceof GraphApiError,
      status: error.httpStatus,
      code: error.code,
      subcode: error.errorSubcode,
      type: error.type,
      category: error.category,
      action: error.retry?.action,
      details: error.details,
    };
  }
}

const phoneNumberId = stage.number;
const to = stage.recipient;
const blob = new Blob([stage.photo], { type: "image/png" });
const wa = client(stage.token);
const sent = (answer) => answer.messages[0].id;

const report = { text: sent(await wa.messages.sendText({ phoneNumberId, to, body: "Hello" })) };

// `type: "image"` is how the SDK's own page shows it.
const media = await wa.media.upload({ phoneNumberId, type: "image", file: blob, fileName: "photo.png" });
const id = media.id;
report.media = id;
report.image = sent(await wa.messages.sendImage({ phoneNumberId, to, image: { id, caption: "Yours" } }));
const template = buildTemplateSendPayload({
  name: "receipt",
  language: "en_US",
  header: { type: "image", image: { id } },
});
report.template = sent(await wa.messages.sendTemplate({ phoneNumberId, to, template }));

const metadata = await wa.media.get({ mediaId: id });
report.metadata = {
  url: metadata.url,
  download_url: metadata.downloadUrl,
  mime_type: metadata.mimeType,
  sha256: metadata.sha256,
  file_size: Number(metadata.fileSize),
};
report.bytes = stage.encoded(await wa.media.download({ mediaId: id }));
report.saved = stage.encoded(await wa.media.download({ mediaId: id, phoneNumberId, auth: "always" }));
report.deleted = (await wa.media.delete({ mediaId: id, phoneNumberId })).success;

report.reads = {
  storage: (await wa.phoneNumbers.settings.get({ phoneNumberId })).storageConfiguration.status.toUpperCase(),
  templates: Array.isArray((await wa.templates.list({ businessAccountId: stage.account, limit: 1 })).data),
};

function uploadWithTtl(minutes) {
  const form = new FormData();
  form.set("messaging_product", "whatsapp");
  form.set("file", blob, "photo.png");
  form.set("ttl_minutes", minutes);
  return wa.request("POST", `${phoneNumberId}/media`, { body: form, responseType: "json" });
}

report.refused = {
  ttl: await outcome(() => uploadWithTtl("2880")),
  // Bare bytes have no type of their own, and the SDK gives them none.
  type: await outcome(() => wa.media.upload({ phoneNumberId, type: "image/png", file: stage.photo })),
  others_media: await outcome(() =>
    wa.messages.sendImage({ phoneNumberId, to, image: { id: stage.othersMedia } }),
  ),
  deleted_media: await outcome(() => wa.media.get({ mediaId: id })),
  unknown_operation: await outcome(() => wa.request("GET", "me", { responseType: "json" })),
  stranger: await outcome(() => client("nobody's").messages.sendText({ phoneNumberId, to, body: "Hello" })),
};
stage.tell(report);
