#!/usr/bin/env node
/**
 * Makes the files of `dist/` from `tower-sse.js`.
 *
 *     node client/build.mjs                    writes them
 *     node client/build.mjs --check            makes them in memory, compares, and checks their size
 *     node client/build.mjs --esbuild <path>   uses the esbuild package at this path
 *
 * Without `--esbuild` the package is looked for in the directories of NODE_PATH, then the usual way.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const SOURCE = fileURLToPath(new URL("tower-sse.js", import.meta.url));
const DIST = fileURLToPath(new URL("dist/", import.meta.url));
/** What a file may take on the wire. */
const MOST_BYTES = 4096;

const BUNDLES = {
  "tower-sse.min.js": { format: "esm" },
  "tower-sse.classic.js": { format: "iife", globalName: "towerSse" },
};

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
  for (const [name, how] of Object.entries(BUNDLES)) {
    const { outputFiles } = await esbuild.build({
      entryPoints: [SOURCE],
      bundle: true,
      minify: true,
      target: "es2022",
      legalComments: "none",
      write: false,
      ...how,
    });
    const [{ contents }] = outputFiles;
    const digest = createHash("sha384").update(contents).digest("base64");
    files.set(name, Buffer.from(contents));
    files.set(name + ".sri", Buffer.from(`sha384-${digest}`));
  }
  return files;
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
    else if (!there.equals(bytes)) yield `dist/${name} was not made from this source: run client/build.mjs`;
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
