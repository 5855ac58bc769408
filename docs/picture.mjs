// Makes `demo.png`: the demo's page before and after ctrl-c, side by side.
//
//     cargo build --example demo
//     node --experimental-websocket docs/picture.mjs target/debug/examples/demo
//
// It needs Chromium and Node 20 or later.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [, , demo] = process.argv;
const profile = await mkdtemp(join(tmpdir(), "picture-"));
const port = 3917;
const server = spawn(demo, { env: { ...process.env, PORT: String(port) }, stdio: "inherit" });
const browser = spawn("chromium", [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank",
], { stdio: "ignore" });

/** Tries again until `attempt` gives something. */
async function until(attempt) {
  for (let n = 0; n < 200; n++) {
    const value = await attempt().catch(() => undefined);
    if (value) return value;
    await sleep(50);
  }
  throw new Error(`not in time: ${attempt}`);
}

/** A page of the browser, as the function that sends it a command of the DevTools. */
async function page() {
  const active = await until(() => readFile(join(profile, "DevToolsActivePort"), "utf8"));
  const targets = `http://127.0.0.1:${active.split("\n")[0]}/json/list`;
  const target = await until(async () =>
    (await (await fetch(targets)).json()).find((it) => it.type === "page"));
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((opened) => socket.addEventListener("open", opened));
  const waiting = new Map();
  socket.addEventListener("message", ({ data }) => {
    const { id, result } = JSON.parse(data);
    waiting.get(id)?.(result);
  });
  let last = 0;
  return (method, params = {}) => new Promise((answered) => {
    waiting.set(++last, answered);
    socket.send(JSON.stringify({ id: last, method, params }));
  });
}

try {
  await until(() => fetch(`http://127.0.0.1:${port}/`));
  const send = await page();
  const size = async (width, height) => send("Emulation.setDeviceMetricsOverride", {
    width, height, deviceScaleFactor: 1, mobile: false,
  });
  const shot = async () => (await send("Page.captureScreenshot", { format: "png" })).data;
  const text = async (expression) =>
    (await send("Runtime.evaluate", { expression, returnByValue: true })).result.value;
  const [width, height] = [620, 640];

  await size(width, height);
  await send("Page.navigate", { url: `http://127.0.0.1:${port}/` });
  const says = (word) => async () => (await text("document.body.innerText")).toLowerCase().includes(word);
  await until(says("live"));
  await sleep(3500);
  const before = await shot();
  server.kill("SIGINT");
  await until(says("closed"));
  const after = await shot();

  const figure = (image, caption) =>
    `<figure><figcaption>${caption}</figcaption><img src="data:image/png;base64,${image}"></figure>`;
  const html = `<!doctype html><style>
    body { margin: 0; display: flex; gap: 16px; padding: 16px; background: #f3f3f3; font: 16px sans-serif }
    figure { margin: 0 } figcaption { padding: 0 0 8px } img { display: block; border: 1px solid #ccc }
  </style>${figure(before, "live")}${figure(after, "after ctrl-c at the server")}`;
  await size(2 * width + 3 * 16 + 4, height + 60);
  const { frameTree } = await send("Page.getFrameTree");
  await send("Page.setDocumentContent", { frameId: frameTree.frame.id, html });
  await sleep(300);
  const picture = Buffer.from(await shot(), "base64");
  if (picture.length > 300_000) throw new Error(`${picture.length} bytes are more than 300 kB`);
  await writeFile(new URL("demo.png", import.meta.url), picture);
  console.log(`${picture.length} bytes`);
} finally {
  server.kill();
  browser.kill();
  await rm(profile, { recursive: true, force: true, maxRetries: 10 });
}
