// The client under test: ask the fuzzing server for its cases, and echo in each of them. Runs in a
// page and in Node, with `WSRedis`, which must be loaded first, or without it for comparison.

const viaWSRedis = (url, received) =>
  new Promise((resolve) => {
    const ws = new WSRedis(url);
    ws.on("message", (data) => received(data, ws));
    ws.on("reconnecting", () => ws.close()); // the case has ended; do not reconnect
    ws.on("close", resolve);
  });

const bare = (url, received) =>
  new Promise((resolve) => {
    const ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    ws.addEventListener("message", ({ data }) => received(data, ws));
    ws.addEventListener("close", resolve);
  });

globalThis.drive = async (address, agent) => {
  const visit = agent.endsWith("bare") ? bare : viaWSRedis;
  let cases = 0;
  await visit(`${address}/getCaseCount`, (data) => {
    cases = Number(data);
  });
  for (let number = 1; number <= cases; number += 1) {
    const url = `${address}/runCase?case=${number}&agent=${agent}`;
    await visit(url, (data, ws) => ws.send(data));
  }
  await visit(`${address}/updateReports?agent=${agent}`, () => {});
};
