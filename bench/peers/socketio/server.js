// Socket.IO in front of the same Redis channels: a room a user, one subscriber connection for all of them.
import { createServer } from "node:http";
import jwt from "jsonwebtoken";
import { createClient } from "redis";
import { Server } from "socket.io";

const { PORT, REDIS_URL, JWT_SECRET } = process.env;
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
const subscriber = createClient({ url: REDIS_URL });
// Connections of each user: the channel is subscribed for the first and left with the last.
const connections = new Map();

subscriber.on("error", (error) => console.error("redis:", error.message));
await subscriber.connect();

// The first HTTP request is kept for the life of a connection otherwise.
io.engine.on("connection", (socket) => {
  socket.request = null;
});

io.use((socket, next) => {
  try {
    socket.data.user = jwt.verify(socket.handshake.auth.token, JWT_SECRET, { algorithms: ["HS256"] }).sub;
  } catch (error) {
    return next(error);
  }
  join(socket, socket.data.user).then(() => next(), next);
});

io.on("connection", (socket) => {
  const { user } = socket.data;
  socket.on("disconnect", () => {
    const left = connections.get(user) - 1;
    connections.set(user, left);
    if (left === 0) {
      connections.delete(user);
      subscriber.unsubscribe(channel(user)).catch((error) => console.error("redis:", error.message));
    }
  });
});

function channel(user) {
  return `ws:${user}`;
}

// The client hears that it is connected once its channel is subscribed, so that it misses nothing from then on.
async function join(socket, user) {
  const before = connections.get(user) ?? 0;
  connections.set(user, before + 1);
  socket.join(user);
  if (before === 0) {
    await subscriber.subscribe(channel(user), (message) => io.to(user).emit("message", message));
  }
}

http.listen(Number(PORT), "127.0.0.1");
