// The page of a hub without the demo.
import AxeBuilder from "@axe-core/playwright";
import { expect, Server, test } from "./fixtures.ts";

test("a hub without the demo says what it is and leads to its addresses", async ({ page, javaScriptEnabled }) => {
  const server = new Server(["--demo", "false"]);
  await server.start();
  await page.goto(server.url);
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("A hub for live updates.");
  if (javaScriptEnabled !== false) expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
  await page.getByRole("link", { name: "Every address, described" }).click();
  await expect(page).toHaveURL(`${server.url}/docs`);
  await server.remove();
});
