// Preloaded into the demo server, which listens on every interface if left alone: whoever reached it there would not need the gate's token.
import net from 'node:net';

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, port, '127.0.0.1', ...rest);
};
