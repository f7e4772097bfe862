// Node `ws`: one Redis subscription, a set of sockets for each channel; what a socket says is published.
"use strict";

const http = require("http");
const Redis = require("ioredis");
const { WebSocketServer } = require("ws");

const feed = new Redis(Number(process.env.REDIS_PORT), "127.0.0.1");
const commands = new Redis(Number(process.env.REDIS_PORT), "127.0.0.1");
const channels = new Map();

feed.on("message", (channel, message) => {
  for (const socket of channels.get(channel) || []) socket.send(message);
});

const server = http.createServer((request, response) => response.end("ok"));
const websockets = new WebSocketServer({ server, perMessageDeflate: true });

websockets.on("connection", (socket, request) => {
  const path = request.url.slice(1);
  if (path.startsWith("publish-")) {
    const channel = path.slice("publish-".length);
    socket.on("message", (data) => commands.publish(channel, data));
    return;
  }
  const names = path.split(",");
  for (const name of names) {
    let members = channels.get(name);
    if (!members) {
      channels.set(name, (members = new Set()));
      feed.subscribe(name);
    }
    members.add(socket);
  }
  socket.on("close", () => {
    for (const name of names) {
      const members = channels.get(name);
      members.delete(socket);
      if (!members.size) {
        channels.delete(name);
        feed.unsubscribe(name);
      }
    }
  });
});

server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
