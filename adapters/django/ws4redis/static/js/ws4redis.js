/**
 * A websocket that reconnects automatically.
 *
 *   var ws4redis = WS4Redis({uri: WEBSOCKET_URI + "facility?subscribe-broadcast",
 *                            receive_message: show, heartbeat_msg: WS4REDIS_HEARTBEAT});
 *
 * Options: uri; the functions connecting(), connected(), disconnected(event) and
 * receive_message(data); heartbeat_msg, the text that the server sends when idle.
 * Methods: send_message(message), which queues messages until the connection is open; close(),
 * after which it does not reconnect; get_state(), is_connecting(), is_connected(), is_closing(),
 * is_closed().
 *
 * `new` may be omitted. A second argument, jQuery, is accepted and ignored.
 */
function WS4Redis(options, jQuery) {
  "use strict";
  if (!(this instanceof WS4Redis)) {
    return new WS4Redis(options, jQuery);
  }
  if (!options || options.uri === undefined) {
    throw new Error("No Websocket URI in options");
  }

  var HEARTBEAT_MS = 5000;
  var MISSED_MOST = 3;
  var WAIT_MOST_MS = 30000;
  var QUEUE_MOST = 1000;
  var CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

  var settings = {};
  for (var name in options) {
    settings[name] = options[name];
  }
  var socket = null;
  var ended = false;
  var attempt = 1;
  var retry_timer = null;
  var heartbeat_timer = null;
  var missed = 0;
  var waiting = [];

  function call(name, value) {
    if (typeof settings[name] === "function") {
      return settings[name](value);
    }
  }

  function state() {
    return socket ? socket.readyState : CLOSED;
  }

  function connect() {
    retry_timer = null;
    call("connecting");
    if (ended) {
      return;
    }
    try {
      socket = new WebSocket(settings.uri);
    } catch (error) {
      socket = null;
      retry();
      return;
    }
    socket.onopen = opened;
    socket.onmessage = received;
    socket.onclose = closed;
  }

  function retry() {
    if (!ended && retry_timer === null) {
      var most = Math.min((Math.pow(2, attempt) - 1) * 1000, WAIT_MOST_MS);
      attempt += 1;
      retry_timer = setTimeout(connect, Math.random() * most);
    }
  }

  function opened() {
    attempt = 1;
    missed = 0;
    if (settings.heartbeat_msg) {
      heartbeat_timer = setInterval(beat, HEARTBEAT_MS);
    }
    while (waiting.length && state() === OPEN) {
      socket.send(waiting.shift());
    }
    call("connected");
  }

  function received(event) {
    if (settings.heartbeat_msg && event.data === settings.heartbeat_msg) {
      missed = 0;
    } else {
      call("receive_message", event.data);
    }
  }

  function closed(event) {
    stop_beating();
    call("disconnected", event);
    retry();
  }

  function beat() {
    missed += 1;
    if (missed > MISSED_MOST) {
      give_up();
    } else if (state() === OPEN) {
      socket.send(settings.heartbeat_msg);
    }
  }

  // If the server does not answer, the browser would wait long for the close handshake to end.
  function give_up() {
    var dead = socket;
    dead.onopen = dead.onmessage = dead.onclose = null;
    socket = null;
    dead.close();
    closed({ type: "close", code: 1006, reason: "missed heartbeats", wasClean: false });
  }

  function stop_beating() {
    clearInterval(heartbeat_timer);
    heartbeat_timer = null;
  }

  this.send_message = function (message) {
    if (state() === OPEN) {
      socket.send(message);
    } else if (!ended) {
      waiting.push(message);
      if (waiting.length > QUEUE_MOST) {
        waiting.shift();
      }
    }
  };

  this.close = function () {
    ended = true;
    waiting = [];
    stop_beating();
    clearTimeout(retry_timer);
    retry_timer = null;
    if (state() === CONNECTING || state() === OPEN) {
      socket.close();
    }
  };

  this.get_state = state;

  this.is_connecting = function () {
    return state() === CONNECTING;
  };

  this.is_connected = function () {
    return state() === OPEN;
  };

  this.is_closing = function () {
    return state() === CLOSING;
  };

  this.is_closed = function () {
    return state() === CLOSED;
  };

  connect();
}
