// In development Vite serves the page, and `wsredis demo` the websockets.
export default { server: { proxy: { "/ws": { target: "ws://127.0.0.1:8000", ws: true } } } };
