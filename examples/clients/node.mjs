#!/usr/bin/env node
// Prints a user's messages, one a line, and stays connected. What it misses while it is away comes when it is back.
//
//   node node.mjs ws://localhost:8004/ws --token TOKEN        (or the environment's WEBSOCKET_TOKEN)
//   node node.mjs ws://localhost:8004/ws --token-command 'fetch-a-token --for alice'
//   node node.mjs ws://localhost:8004/ws --plain              (the payloads as they are; what is missed stays missed)
//
// Needs Node.js 22, or 20.10 with `node --experimental-websocket`; no package.

import { execSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const V1 = "websocket-service.v1";
const STOP = new Set([1000, 1002, 1003, 1007, 1009, 4000, 4004]); // Coming back at once would end the same way.
const REFUSED = 1008; // The token.
const FIRST_WAIT = 2_000, LONGEST_WAIT = 60_000, STEADY = 10_000, TOO_FAST_WAIT = 10_000; // Milliseconds.
const REMEMBERED = 1_000; // Ids, besides as many as history holds.

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: "string" }, "token-command": { type: "string" }, plain: { type: "boolean" },
    count: { type: "string", default: "0" },
  },
});
if (!url || !globalThis.WebSocket) {
  console.error(url ? "needs Node.js 22, or node --experimental-websocket"
    : "usage: node.mjs URL [--token TOKEN] [--plain] [--count N]");
  process.exit(64);
}
const wanted = Number(options.count);
let printed = 0;
let cursor = null; // The id to resume from.
const seen = new Set(); // Ids of what was printed, the oldest first: after a gap some of it may be sent again.
let remembered = REMEMBERED;

function token() {
  if (options["token-command"]) return execSync(options["token-command"], { encoding: "utf8" }).trim();
  return options.token ?? process.env.WEBSOCKET_TOKEN;
}

function show(message) {
  console.log(message);
  printed++;
}

function enough() {
  return wanted > 0 && printed >= wanted;
}

// Takes a frame of v1 mode; returns after how many milliseconds the service wants this client back, where it says so.
// Types and fields that are not known are passed over.
function take(frame) {
  switch (frame.type) {
    case "hello":
      cursor = frame.cursor;
      remembered = REMEMBERED + (frame.history?.messages ?? 0);
      console.error(`hello, resumed: ${frame.resumed}`);
      break;
    case "message":
      // A message published without history has no id.
      if (!seen.has(frame.id)) show(frame.text ?? JSON.stringify(frame.data));
      if (frame.id) {
        cursor = frame.id; // Only now: what was not dealt with is to be sent again.
        seen.add(frame.id);
        while (seen.size > remembered) seen.delete(seen.values().next().value);
      }
      break;
    case "gap": // Here an application fetches the present state from its own back end.
      console.error(`gap after ${frame.after}: something is missing`);
      break;
    case "reconnect":
      console.error(`asked to come back in ${frame.after_ms / 1000} s: ${frame.reason}`);
      return frame.after_ms;
    case "error":
      console.error(`${frame.message} [${frame.code}], correlation id ${frame.correlation_id}`);
  }
  return null;
}

// One connection from its start to its end; resolves to its close code and reason, and to what the service asked for.
function listen() {
  return new Promise((resolve) => {
    const bearer = token();
    const address = new URL(url);
    if (cursor) address.searchParams.set("last_event_id", cursor);
    // The standard constructor sets no headers, so the token goes as a subprotocol: it stays out of URLs and their logs.
    const socket = new WebSocket(address, [...(options.plain ? [] : [V1]), ...(bearer ? ["bearer", bearer] : [])]);
    let after = null;
    socket.onopen = () => console.error("open");
    socket.onmessage = (event) => {
      if (enough()) return;
      // A service that does not know v1 mode selects another subprotocol, and talks as in plain mode.
      if (socket.protocol === V1) after = take(JSON.parse(event.data)) ?? after;
      else show(event.data);
      if (enough()) socket.close(1000);
    };
    socket.onclose = ({ code, reason }) => resolve({ code, reason, after });
    // After a refused upgrade Node.js 20 says no more than this; others close as well, with a code.
    socket.onerror = () => setTimeout(resolve, 500, { code: 1006, reason: "", after });
  });
}

// A close reason is JSON: error_code, message, correlation_id.
function explain(reason) {
  try {
    const { error_code, message, correlation_id } = JSON.parse(reason);
    return `${message} [${error_code}], correlation id ${correlation_id}`;
  } catch {
    return reason || "no reason given";
  }
}

let failures = 0, refusals = 0;
for (;;) {
  const start = Date.now();
  const { code, reason, after } = await listen();
  if (enough()) process.exit(0);
  console.error(`closed, ${code}: ${explain(reason)}`);
  // A refusal can come as an accepted connection that is closed at once, so only one that lasted is a success.
  if (Date.now() - start > STEADY) failures = refusals = 0;
  refusals = code === REFUSED ? refusals + 1 : 0;
  if (STOP.has(code) || refusals === 2) process.exit(code === 1000 ? 0 : 1);
  // What the service asks for it has chosen at random already.
  const random = after !== null && failures === 0 ? 0 : Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
  const wait = (after ?? (code === 4003 ? TOO_FAST_WAIT : 0)) + random;
  failures++;
  console.error(`again in ${(wait / 1000).toFixed(1)} s`);
  await sleep(wait);
}
