// What the driver tells a script by its environment, and how a script tells what it saw.

import { readFileSync } from "node:fs";

function told(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export const baseUrl = told("CURFEW_BASE_URL");
export const token = told("CURFEW_TOKEN");
// The business number that the script sends from, and its account.
export const number = told("CURFEW_NUMBER");
export const account = told("CURFEW_ACCOUNT");
// A medium that another number uploaded.
export const othersMedia = told("CURFEW_OTHERS_MEDIA");
// A small PNG.
export const photo = new Uint8Array(readFileSync(told("CURFEW_PHOTO")));

export const recipient = "+15550100001";

export function encoded(bytes) {
  return Buffer.from(bytes).toString("base64");
}

export function tell(report) {
  process.stdout.write(JSON.stringify(report));
}
