// Uploads and downloads with Node's own fetch (undici), in the forms that it writes by itself.

import * as stage from "./stage.mjs";

const graph = `${stage.baseUrl}/v23.0`;
const media = `${graph}/${stage.number}/media`;
const bearer = { Authorization: `Bearer ${stage.token}` };
const photo = new Blob([stage.photo], { type: "image/png" });
const patience = 30_000;

async function ask(method, url, how = {}) {
  const signal = AbortSignal.timeout(patience);
  const answer = await fetch(url, { method, headers: bearer, signal, ...how });
  const bytes = await answer.arrayBuffer();
  try {
    return { status: answer.status, json: JSON.parse(Buffer.from(bytes).toString("utf8")) };
  } catch {
    return { status: answer.status, bytes: stage.encoded(bytes) };
  }
}

function form(parts) {
  const form = new FormData();
  for (const [name, ...value] of parts) form.append(name, ...value);
  return form;
}

const upload = (parts, url = media) => ask("POST", url, { body: form(parts) });
const product = ["messaging_product", "whatsapp"];
const file = ["file", photo, "photo.png"];

// The same form as a stream: fetch does not know its length and sends it chunked.
function streamed(parts) {
  const written = new Response(form(parts));
  const headers = { ...bearer, "Content-Type": written.headers.get("Content-Type") };
  return ask("POST", media, { body: written.body, headers, duplex: "half" });
}

const uploads = {
  "fields first": await upload([product, ["type", "image/png"], file]),
  "file first": await upload([file, product, ["ttl_minutes", "90"]]),
  "in the query": await upload([file], `${media}?messaging_product=whatsapp&type=image%2Fpng`),
  unversioned: await upload([product, file], `${stage.baseUrl}/${stage.number}/media`),
  "odd name": await upload([product, ["file", photo, 'Отчёт "1"; 50%.png']]),
  "default name": await upload([product, ["file", photo]]),
  chunked: await streamed([product, file]),
};

const id = uploads["fields first"].json.id;
const { url } = (await ask("GET", `${graph}/${id}`, { headers: { ...bearer, "Content-Type": "application/json" } })).json;
const downloads = {
  bearer: await ask("GET", url),
  "empty bearer": await ask("GET", url, { headers: { Authorization: "Bearer " } }),
  "no bearer": await ask("GET", url, { headers: {} }),
  "glued token": await ask("GET", `${url}?access_token=${stage.token}`, { headers: {} }),
  "rewritten escapes": await ask("GET", new URL(decodeURI(url)), { headers: {} }),
};
const deleted = await ask("DELETE", `${graph}/${id}?phone_number_id=${stage.number}`);

// Larger than all the buffers on the way: who writes it must be read from, or be told.
const video = ["file", new Blob([new Uint8Array(16 * 1024 * 1024)], { type: "video/mp4" }), "video.mp4"];
const refused = {
  "by its first part": await upload([["ttl_minutes", "59"], product, video]),
  "by its path": await upload([product, video], `${graph}/9999/media`),
};

stage.tell({ fetch: { uploads, downloads, deleted, refused } });
