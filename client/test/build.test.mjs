import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import vm from "node:vm";
import { gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url);
const files = readdirSync(dist);
const scripts = files.filter((name) => name.endsWith(".js"));
const read = (name) => readFileSync(new URL(name, dist));

test("each script that is served has its digest in dist, in the form of the attribute integrity", () => {
  // Served as it is.
  const development = "tower-sse.dev.js";
  const served = [...scripts, development].sort();
  assert.deepEqual(files.filter((name) => !name.endsWith(".js")), served.map((name) => `${name}.sri`));
  for (const name of served) {
    const script = name === development ? read(`../${name}`) : read(name);
    const digest = createHash("sha384").update(script).digest("base64");
    assert.equal(read(`${name}.sri`).toString(), `sha384-${digest}`, name);
  }
});

test("each file of dist takes at most 4096 bytes on the wire", () => {
  for (const name of scripts) {
    const { length } = gzipSync(read(name), { level: 9 });
    assert.ok(length <= 4096, `${name}: ${length}`);
  }
});

test("the documentation says what the scripts take on the wire", () => {
  const documentation = readFileSync(new URL("../../src/client/mod.rs", import.meta.url), "utf8");
  const text = documentation.replace(/\s+\/\/!\s+/g, " ");
  const said = text.match(/less than (\d) KiB compressed, and another ([\d.]+) KiB for `extras`/);
  const takes = (name) => gzipSync(read(name), { level: 9 }).length / 1024;
  assert.ok(takes("tower-sse.min.js") < said[1]);
  assert.equal(takes("tower-sse.extras.min.js").toFixed(1), said[2]);
});

test("the module of dist has the exports of the source", async () => {
  const [made, source] = [await import("../dist/tower-sse.min.js"), await import("../tower-sse.js")];
  assert.deepEqual(Object.keys(made), Object.keys(source));
});

test("the classic file has the same as a global", async () => {
  const context = vm.createContext({ EventTarget, Error });
  vm.runInContext(read("tower-sse.classic.js").toString(), context);
  const source = await import("../tower-sse.js");
  assert.deepEqual(Object.keys(context.towerSse).sort(), Object.keys(source));
});

test("no file evaluates text, and only toasts that ask for it write HTML", () => {
  for (const name of ["tower-sse.js", "tower-sse.dev.js", "tower-sse.extras.js"]) {
    const text = readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
    assert.doesNotMatch(text, /\beval\(|new Function|outerHTML|insertAdjacentHTML|document\.write/);
    assert.equal((text.match(/innerHTML/g) ?? []).length, name === "tower-sse.extras.js" ? 1 : 0);
  }
});
