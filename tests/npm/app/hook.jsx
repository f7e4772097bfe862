// A page that renders the hook as the test tells it.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { useWSRedis } from "wsredis/react";

const root = createRoot(document.body.appendChild(document.createElement("div")));

globalThis.renderings = 0;

function Probe({ uri, options }) {
  const connection = useWSRedis(uri, options);
  globalThis.connection = connection;
  globalThis.renderings += 1;
  return <output>{JSON.stringify([connection.state, connection.data ?? null])}</output>;
}

globalThis.render = (uri, options) =>
  root.render(
    <StrictMode>
      <Probe uri={uri} options={options} />
    </StrictMode>,
  );
globalThis.unmount = () => root.unmount();
