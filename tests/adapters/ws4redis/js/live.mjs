// A page's script against a live server: `node live.mjs SCRIPT ADDRESS`. Prints what it hears.
import { readFile } from "node:fs/promises";
import vm from "node:vm";

const [, , script, uri] = process.argv;
vm.runInThisContext(await readFile(script, "utf8"));
const ws = WS4Redis({
  uri,
  heartbeat_msg: "--heartbeat--",
  connected: () => ws.send_message("of the page"),
  receive_message: (data) => {
    console.log(data);
    if (data === "of the server") {
      ws.close();
    }
  },
});
// Nothing here ends the process: it ends when no timer and no socket is left.
