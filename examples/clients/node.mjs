#!/usr/bin/env node
// Prints a user's messages, one a line, and stays connected.
//
//   node node.mjs ws://localhost:8004/ws --token TOKEN        (or the environment's WEBSOCKET_TOKEN)
//   node node.mjs ws://localhost:8004/ws --token-command 'fetch-a-token --for alice'
//
// Needs Node.js 22, or 20.10 with `node --experimental-websocket`; no package.

import { execSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const STOP = new Set([1000, 1002, 1003, 1007, 1009, 4000, 4004]); // Coming back at once would end the same way.
const REFUSED = 1008; // The token.
const FIRST_WAIT = 2_000, LONGEST_WAIT = 60_000, STEADY = 10_000, TOO_FAST_WAIT = 10_000; // Milliseconds.

const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: { token: { type: "string" }, "token-command": { type: "string" }, count: { type: "string", default: "0" } },
});
if (!url || !globalThis.WebSocket) {
  console.error(url ? "needs Node.js 22, or node --experimental-websocket" : "usage: node.mjs URL [--token TOKEN] [--count N]");
  process.exit(64);
}
const wanted = Number(options.count);
let seen = 0;

function token() {
  if (options["token-command"]) return execSync(options["token-command"], { encoding: "utf8" }).trim();
  return options.token ?? process.env.WEBSOCKET_TOKEN;
}

// One connection from its start to its end; resolves to its close code and reason.
function listen() {
  return new Promise((resolve) => {
    const bearer = token();
    // The standard constructor sets no headers, so the token goes as a subprotocol: it stays out of URLs and their logs.
    const socket = bearer ? new WebSocket(url, ["bearer", bearer]) : new WebSocket(url);
    socket.onopen = () => console.error("open");
    socket.onmessage = (event) => {
      console.log(event.data);
      if (++seen === wanted) socket.close(1000);
    };
    socket.onclose = ({ code, reason }) => resolve({ code, reason });
    // After a refused upgrade Node.js 20 says no more than this; others close as well, with a code.
    socket.onerror = () => setTimeout(resolve, 500, { code: 1006, reason: "" });
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
  const { code, reason } = await listen();
  if (wanted > 0 && seen >= wanted) process.exit(0);
  console.error(`closed, ${code}: ${explain(reason)}`);
  // A refusal can come as an accepted connection that is closed at once, so only one that lasted is a success.
  if (Date.now() - start > STEADY) failures = refusals = 0;
  refusals = code === REFUSED ? refusals + 1 : 0;
  if (STOP.has(code) || refusals === 2) process.exit(code === 1000 ? 0 : 1);
  const wait = (code === 4003 ? TOO_FAST_WAIT : 0) + Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++);
  console.error(`again in ${(wait / 1000).toFixed(1)} s`);
  await sleep(wait);
}
