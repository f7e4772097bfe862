// A page that loads the classic script for its side effect, the global.
import "wsredis/wsredis.js";

globalThis.run = (uri) =>
  new Promise((resolve) => {
    const ws = new globalThis.WSRedis(uri);
    ws.onJSON((value) => {
      ws.close();
      resolve([value, ws.state, true]);
    });
  });
