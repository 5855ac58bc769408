// A proxy in Node: `http-proxy` alone, or in express with compression.
const http = require("http");
const { createProxyServer } = require("http-proxy");

const [port, upstream, kind] = process.argv.slice(2);
const proxy = createProxyServer({ target: `http://127.0.0.1:${upstream}`, proxyTimeout: 2000, timeout: 2000 });
// Else it keeps the upstream's connection when its client is gone.
proxy.on("proxyReq", (request, _, response) => response.on("close", () => request.destroy()));
proxy.on("error", (error, _, response) => response.destroy(error));
if (kind === "express") {
  const app = require("express")();
  app.use(require("compression")({ threshold: 0 }));
  app.use((request, response) => proxy.web(request, response));
  app.listen(port, "127.0.0.1");
} else {
  http.createServer((request, response) => proxy.web(request, response)).listen(port, "127.0.0.1");
}
