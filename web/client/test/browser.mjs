// Chromium with tabs that have the client, for the tests that need real pages. CHROMIUM selects another browser.
import { readFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanups } from "./nodes.mjs";

const { chromium } = createRequire(new URL("../../../tests/browser/", import.meta.url))("playwright-core");

const TYPES = { js: "text/javascript", html: "text/html" };

/** A browser and a web server for dist/; every tab has the modules `core`, `shared` and `fallback` as globals. */
export async function startBrowser() {
  const server = createServer((request, response) => {
    const file = request.url == "/" ? undefined : new URL(`../dist${request.url}`, import.meta.url);
    try {
      response.setHeader("content-type", TYPES[file ? "js" : "html"]);
      response.end(file ? readFileSync(file) : "<!doctype html><title>client</title>");
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const profile = mkdtempSync(join(tmpdir(), "tidegate-client-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  cleanups.push(async () => {
    await browser.close();
    server.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
  });
  return {
    /** A new tab in which `script` has run, with `argument` and the modules. */
    async tab(script, argument) {
      const page = await browser.newPage();
      page.on("pageerror", (error) => console.log("# page error:", error.message));
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      await page.evaluate(async (modules) => {
        for (const name of modules) window[name] = await import(`/${name}.js`).catch(() => undefined);
        window.core = window.index;
      }, ["index", "shared", "fallback"]);
      if (script) await page.evaluate(script, argument);
      return page;
    },
    /** Kills the tab's renderer, without any event for the page. */
    async crash(page) {
      const devtools = await browser.newCDPSession(page);
      const gone = new Promise((resolve) => page.once("crash", resolve));
      devtools.send("Page.crash").catch(() => {});
      await gone;
    },
    browser,
  };
}
