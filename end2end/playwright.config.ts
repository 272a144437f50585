// Every spec runs with JavaScript on and off, at the width of a desk and of a phone. What needs
// JavaScript says so with @js in its title, what is for its absence with @no-js.
import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const debian = "/usr/bin/chromium";
const executablePath = process.env.PLAYWRIGHT_CHROMIUM_PATH ?? (existsSync(debian) ? debian : undefined);

const args = ["--disable-background-networking", "--disable-component-update", "--disable-quic", "--no-first-run"];
// Chromium's sandbox refuses to work for root.
if (process.getuid?.() === 0) args.push("--no-sandbox");

const desktop = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const withJs = { grepInvert: /@no-js/ };
const withoutJs = { grepInvert: /@js\b/ };

export default defineConfig({
  testDir: "tests",
  fullyParallel: true,
  forbidOnly: !!process.env.CI,
  workers: 2,
  // A hiccup of a busy machine is reported as flaky; what is broken fails twice.
  retries: process.env.CI ? 1 : 0,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [["list"]],
  use: { launchOptions: { executablePath, args }, trace: "retain-on-failure" },
  projects: [
    { name: "desktop", ...withJs, use: { ...desktop } },
    { name: "phone", ...withJs, use: { ...phone } },
    { name: "desktop, no JavaScript", ...withoutJs, use: { ...desktop, javaScriptEnabled: false } },
    { name: "phone, no JavaScript", ...withoutJs, use: { ...phone, javaScriptEnabled: false } },
  ],
});
