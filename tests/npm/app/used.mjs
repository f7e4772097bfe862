// A page that uses the client.
import Default, { WSRedis } from "wsredis";

globalThis.run = (uri) =>
  new Promise((resolve) => {
    const ws = new WSRedis(uri);
    ws.onJSON((value) => {
      ws.close();
      resolve([value, ws.state, Default === WSRedis]);
    });
  });
