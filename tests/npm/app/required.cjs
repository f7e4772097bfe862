// A page that uses the client as a CommonJS module.
const { WSRedis, default: Default } = require("wsredis");

globalThis.run = (uri) =>
  new Promise((resolve) => {
    const ws = new WSRedis(uri, { json: true });
    ws.on("message", (value) => {
      ws.close();
      resolve([value, ws.state, Default === WSRedis]);
    });
  });
