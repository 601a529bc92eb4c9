// Requests to the server that this page came from, and to no other.

import { ask } from "./dom.js";

const KEY = "phi4local-key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  let response;
  try {
    response = await fetch(`/page-api/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer. Is `phi4local serve` still running?");
  }
  if (response.ok) return response;
  if (response.status === 401) {
    const typed = await askForKey(Boolean(key));
    if (typed) {
      sessionStorage.setItem(KEY, typed);
      return request(path, { method, body, signal });
    }
  }
  throw new ApiError(response.status, await reason(response));
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

let asking = null;

// Several requests may need the key at once: the person is asked once.
function askForKey(wrong) {
  asking ??= ask({
    title: "This server needs a key",
    text: wrong ? "The key was wrong." : "Whoever started the server has it. It stays in this tab.",
    label: "Key",
    type: "password",
    ok: "Go on",
  }).finally(() => { asking = null; });
  return asking;
}

export const get = async (path) => (await request(path)).json();
export const post = async (path, body) => (await request(path, { method: "POST", body })).json();
export const remove = async (path) => (await request(path, { method: "DELETE" })).json();

// Yield the lines of an answer as objects, as they come.
export async function* lines(path, body, signal) {
  const response = await request(path, { method: "POST", body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}
