#!/usr/bin/env node
/**
 * Makes the files of `dist/` from `tower-sse.js`.
 *
 *     node client/build.mjs                    writes them, and checks their size
 *     node client/build.mjs --check            makes them in memory, and compares them
 *     node client/build.mjs --esbuild <path>   uses the esbuild package at this path
 *
 * Without `--esbuild` the package is looked for where Node finds packages, and in NODE_PATH.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = fileURLToPath(new URL("dist/", import.meta.url));
/** What a file may take on the wire. */
const MOST_BYTES = 4096;

/** Properties that only the source itself uses, and that may be shortened. */
const OWN_NAMES =
  /^(ask|changed|closeLine|deliver|heard|join|leave|line|openLine|pause|refused|wake)$/;

const EXPORTS = "connect, configure, stream, parser, Source, SseError, anywhere";

/** What each file is made from. The classic ones find each other by a global. */
const ENTRIES = {
  "tower-sse.min.js": { format: "esm", code: `export { ${EXPORTS} } from "./tower-sse.js"` },
  "tower-sse.classic.js": {
    format: "iife",
    // Takes less than what esbuild makes for its own `globalName`.
    code: `import { ${EXPORTS} } from "./tower-sse.js"; globalThis.towerSse = { ${EXPORTS} }`,
  },
  "tower-sse.extras.min.js": {
    format: "esm",
    code: `import "./tower-sse.extras.js"`,
    external: ["./tower-sse.js"],
  },
  "tower-sse.extras.classic.js": {
    format: "iife",
    code: `import "./tower-sse.extras.js"`,
    plugins: [useGlobal()],
  },
};

/** Has a classic script find `tower-sse.js` where the classic form of that left it. */
function useGlobal() {
  return {
    name: "use-global",
    setup(build) {
      const filter = /^\.\/tower-sse\.js$/;
      build.onResolve({ filter }, ({ path }) => ({ path, namespace: "global" }));
      build.onLoad({ filter: /.*/, namespace: "global" }, () => ({
        contents: "export const { anywhere, configure, connect } = globalThis.towerSse",
      }));
    },
  };
}

/** @param {string | undefined} path */
function findEsbuild(path) {
  // Node reads NODE_PATH for `require`, not for `import`.
  const require = createRequire(import.meta.url);
  try {
    return require(path ?? "esbuild");
  } catch (error) {
    throw new Error(`esbuild is not installed (${error.message.split("\n")[0]})`);
  }
}

/** The files by their names. */
async function make(esbuild) {
  const files = new Map();
  for (const [name, { code, ...how }] of Object.entries(ENTRIES)) {
    const { outputFiles } = await esbuild.build({
      stdin: { contents: code, resolveDir: HERE },
      bundle: true,
      minify: true,
      mangleProps: OWN_NAMES,
      target: "es2022",
      legalComments: "none",
      write: false,
      ...how,
    });
    const [{ contents }] = outputFiles;
    files.set(name, Buffer.from(contents));
    files.set(name + ".sri", integrity(contents));
  }
  // It is served as it is.
  files.set("tower-sse.dev.js.sri", integrity(await readFile(join(HERE, "tower-sse.dev.js"))));
  return files;
}

/** What an attribute `integrity` says of these bytes. @param {Uint8Array} contents */
function integrity(contents) {
  return Buffer.from("sha384-" + createHash("sha384").update(contents).digest("base64"));
}

/** What is wrong with the size of the files. */
function* tooLarge(files) {
  for (const [name, bytes] of files) {
    const size = gzipSync(bytes, { level: 9 }).length;
    if (size > MOST_BYTES) yield `dist/${name} takes ${size} bytes, more than ${MOST_BYTES}`;
    else if (!name.endsWith(".sri")) console.log(`dist/${name} takes ${size} bytes`);
  }
}

/** What is wrong with the files that are there. */
async function* outdated(files) {
  for (const [name, bytes] of files) {
    const there = await readFile(join(DIST, name)).catch(() => null);
    if (!there) yield `dist/${name} is missing`;
    else if (!there.equals(bytes)) yield `dist/${name} is of another source: run build.mjs`;
  }
}

async function main() {
  const { values } = parseArgs({
    options: { check: { type: "boolean" }, esbuild: { type: "string" } },
  });
  const files = await make(findEsbuild(values.esbuild));
  const faults = [...tooLarge(files)];
  if (values.check) {
    for await (const fault of outdated(files)) faults.push(fault);
  } else {
    await mkdir(DIST, { recursive: true });
    for (const [name, bytes] of files) await writeFile(join(DIST, name), bytes);
  }
  if (faults.length) throw new Error(faults.join("\n"));
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
