// The development server of Vite, before an application.
const { pathToFileURL } = require("url");

const [port, upstream] = process.argv.slice(2);
const target = `http://127.0.0.1:${upstream}`;

// It is a module of ECMAScript, for which `NODE_PATH` does not count.
import(pathToFileURL(require.resolve("vite"))).then(async ({ createServer }) => {
  const server = await createServer({
    root: __dirname,
    configFile: false,
    logLevel: "error",
    server: {
      host: "127.0.0.1",
      port: Number(port),
      strictPort: true,
      hmr: false,
      watch: null,
      proxy: { "/events": { target, proxyTimeout: 2000, timeout: 2000 } },
    },
  });
  await server.listen();
});
