#!/usr/bin/env node
// Publishes one message with history, and prints its id and the number of pods where the user is connected.
//
//   websocket-service publisher --script > publish.lua
//   node publish.mjs redis://localhost:6379 publish.lua alice '{"n":1}' [IDEMPOTENCY-KEY [TRACEPARENT]]
//
// Needs Node.js 20 and no package. With the package `redis` or `ioredis` take `Publisher` alone:
//   new Publisher((words) => client.sendCommand(words), script)        // redis
//   new Publisher((words) => client.call(...words), script)            // ioredis

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";

export class Publisher {
  // `send` takes the words of a command and resolves to its answer.
  constructor(send, script) {
    this.send = send;
    this.script = script;
    this.hash = createHash("sha1").update(script).digest("hex");
  }

  // Resolves to the message's id and the number of pods. Safe to repeat with the same idempotency key.
  async publish(user, payload, idempotencyKey = "", traceparent = "") {
    const words = ["1", `ws:${user}`, payload, idempotencyKey, traceparent];
    try {
      return await this.send(["EVALSHA", this.hash, ...words]);
    } catch (error) {
      // Redis does not know the script, at first or after a restart, and has done nothing: EVAL stores it and runs it.
      if (!error.message.startsWith("NOSCRIPT")) throw error;
      return await this.send(["EVAL", this.script, ...words]);
    }
  }
}

// The little of a Redis client that this needs: one command at a time, answers without nulls.
class Client {
  constructor({ hostname, port, username, password }) {
    this.socket = connect(Number(port || 6379), hostname).setTimeout(2_000, () => this.socket.destroy(new Error("timeout")));
    this.received = this.socket[Symbol.asyncIterator]();
    this.rest = Buffer.alloc(0);
    this.login = [username, password].filter(Boolean).map(decodeURIComponent);
  }

  async send(words) {
    const encoded = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${encoded.join("")}`);
    return await this.answer();
  }

  async take(length) {
    while (this.rest.length < length) {
      const { value, done } = await this.received.next();
      if (done) throw new Error("Redis closed the connection");
      this.rest = Buffer.concat([this.rest, value]);
    }
    const taken = this.rest.subarray(0, length);
    this.rest = this.rest.subarray(length);
    return taken.toString();
  }

  async answer() {
    let line = "";
    while (!line.endsWith("\r\n")) line += await this.take(1);
    const [kind, text] = [line[0], line.slice(1, -2)];
    if (kind === "-") throw new Error(text);
    if (kind === ":") return Number(text);
    if (kind === "$") return (await this.take(Number(text) + 2)).slice(0, -2);
    if (kind !== "*") return text;
    const answers = [];
    while (answers.length < Number(text)) answers.push(await this.answer());
    return answers;
  }
}

if (process.argv[1]?.endsWith("publish.mjs")) {
  const [url, script, ...message] = process.argv.slice(2);
  const client = new Client(new URL(url));
  if (client.login.length) await client.send(["AUTH", ...client.login]);
  console.log(...(await new Publisher((words) => client.send(words), await readFile(script, "utf8")).publish(...message)));
  client.socket.end();
}
