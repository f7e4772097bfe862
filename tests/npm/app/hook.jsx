// A page that renders the hook as the test tells it.
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { useWSRedis } from "wsredis/react";

const root = createRoot(document.body.appendChild(document.createElement("div")));

globalThis.renderings = 0;

function Probe({ uri, options }) {
  const connection = useWSRedis(uri, options);
  globalThis.connection = connection;
  globalThis.renderings += 1;
  useEffect(() => {
    globalThis.committed = options; // after the effects of the hook
  });
  return <output>{JSON.stringify([connection.state, connection.data ?? null])}</output>;
}

globalThis.render = (uri, options) =>
  root.render(
    <StrictMode>
      <Probe uri={uri} options={options} />
    </StrictMode>,
  );
globalThis.unmount = () => root.unmount();
