// What a browser loads at its first visit of the page, as it comes over the wire, against the budget.
//
//   node .ci/size.mjs SERVER        SERVER is the path of the release's binary

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { brotliDecompressSync } from "node:zlib";

const BUDGET = 150 * 1024;
const START_UP_MS = 15_000;

/** Answers the server's origin, read off its greeting. */
function listening(server) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("the server did not start in time")), START_UP_MS);
        server.once("error", reject);
        server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
        createInterface({ input: server.stdout }).on("line", (line) => {
            const origin = line.match(/http:\/\/[\d.:]+/)?.[0];
            if (!origin) return;
            clearTimeout(timer);
            resolve(origin);
        });
    });
}

/** Answers a file's name, its bytes on the wire, its content and what is wrong with how it was sent. */
function load(address, accept) {
    return new Promise((resolve, reject) => {
        const headers = { accept, "accept-encoding": "br, gzip" };
        http.get(address, { headers }, (response) => {
            const chunks = [];
            response.on("data", (chunk) => chunks.push(chunk));
            response.on("end", () => {
                const body = Buffer.concat(chunks);
                const faults = [];
                const brotli = response.headers["content-encoding"] === "br";
                if (response.statusCode !== 200) faults.push(`status ${response.statusCode}`);
                if (!brotli) faults.push("not sent as brotli");
                const path = new URL(address).pathname;
                if (path !== "/" && !/immutable/.test(response.headers["cache-control"])) faults.push("not immutable");
                resolve({ path, bytes: body.length, content: brotli ? brotliDecompressSync(body) : body, faults });
            });
        }).on("error", reject);
    });
}

/** The style, scripts and WASM that a document names, and the modules that a script imports. */
function named(file, origin) {
    const text = file.content.toString();
    const quoted = /["'`]([^"'`\s<>]+\.(?:css|js|wasm))["'`]/g;
    const imported = /\b(?:from|import)\s*["']([^"']+\.js)["']/g;
    const found = file.path === "/" ? text.matchAll(quoted) : file.path.endsWith(".js") ? text.matchAll(imported) : [];
    return [...found].map(([, name]) => new URL(name, origin + file.path).href).filter((url) => url.startsWith(origin));
}

const data = mkdtempSync(join(tmpdir(), "tidings-size-"));
const environment = Object.entries(process.env).filter(([name]) => !/^(TIDINGS|LEPTOS)_/.test(name));
const server = spawn(process.argv[2], ["serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn"], {
    env: Object.fromEntries(environment),
    stdio: ["ignore", "pipe", "inherit"],
});
try {
    const origin = await listening(server);
    const files = [await load(`${origin}/`, "text/html")];
    const seen = new Set();
    for (const file of files) {
        for (const url of named(file, origin)) {
            if (seen.has(url)) continue;
            seen.add(url);
            files.push(await load(url, "*/*"));
        }
    }

    const kib = (bytes) => `${(bytes / 1024).toFixed(1).padStart(7)} KiB`;
    const width = Math.max(...files.map((file) => file.path.length), 12);
    for (const file of files) console.log(file.path.padEnd(width), kib(file.bytes), ...file.faults);
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    console.log("together".padEnd(width), kib(total), `of ${BUDGET / 1024}`);

    for (const kind of [".css", ".js", ".wasm"]) {
        if (!files.some((file) => file.path.endsWith(kind))) throw new Error(`the page names no ${kind} file`);
    }
    if (files.some((file) => file.faults.length > 0)) throw new Error("a file is not sent as it should be");
    if (total > BUDGET) throw new Error(`the first visit loads more than ${BUDGET / 1024} KiB`);
} catch (error) {
    console.error(`size: ${error.message}`);
    process.exitCode = 1;
} finally {
    const ended = new Promise((resolve) => server.once("close", resolve));
    if (server.exitCode === null && server.kill()) await ended;
    rmSync(data, { recursive: true, force: true });
}
