// A chat with React: start `wsredis demo`, then `npm install && npm run dev` in this folder.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useWSRedis } from "wsredis/react";

import "./main.css";

const CHAT = "/ws/chat?subscribe-broadcast&publish-broadcast&echo";
const KEEP = 500; // the maximum number of messages on the page

function Chat() {
  const [messages, setMessages] = useState([]);
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const { state, sendJSON } = useWSRedis(CHAT, {
    json: true,
    onMessage: (message) => {
      if (typeof message?.text === "string") {
        setMessages((before) => [...before, message].slice(-KEEP));
      }
    },
  });

  const say = (event) => {
    event.preventDefault();
    sendJSON({ from: name || "guest", text, at: Date.now() });
    setText("");
  };

  return (
    <>
      <header>
        <h1>wsredis chat with React</h1>
        <span id="state" data-state={state}>
          {state === "open" ? "connected" : state}
        </span>
      </header>
      <ol id="messages" aria-live="polite">
        {messages.map((message, index) => (
          <Message key={index} {...message} />
        ))}
      </ol>
      <form onSubmit={say}>
        <input
          value={name}
          onChange={(event) => setName(event.target.value)}
          aria-label="Your name"
          placeholder="Your name"
        />
        <input
          value={text}
          onChange={(event) => setText(event.target.value)}
          required
          aria-label="Message"
          placeholder="Write a message"
        />
        <button>Send</button>
      </form>
    </>
  );
}

function Message({ from = "server", text }) {
  return (
    <li>
      <div className="from">{String(from)}</div>
      <div className="text">{text}</div>
    </li>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Chat />
  </StrictMode>,
);
