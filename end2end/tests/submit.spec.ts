import { expect, test, unique } from "./fixtures.ts";

test("a message arrives three times and its stream closes @js", async ({ demo, page }) => {
  const text = unique("three arrivals");
  // What the card showed is written down as it changes: on a busy machine an arrival may have passed before the
  // test looks.
  const shown = await page.evaluateHandle((text) => {
    const shown: string[] = [];
    const look = () => {
      const card = Array.from(document.querySelectorAll(".card")).find((card) => card.textContent?.includes(text));
      const status = card?.querySelector(".card-status")?.textContent;
      const came = card?.querySelectorAll('.bead[data-came="true"]').length;
      if (status && shown.at(-1) !== `${came}: ${status}`) shown.push(`${came}: ${status}`);
    };
    new MutationObserver(look).observe(document.body, {
      attributes: true,
      characterData: true,
      childList: true,
      subtree: true,
    });
    return shown;
  }, text);
  await demo.field.fill(text);
  await demo.send.click();
  const card = demo.card(text);
  await expect(card).toHaveCount(1);
  await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
  const arrivals = (await shown.jsonValue()).filter((line) => /arrival/.test(line));
  expect(arrivals).toEqual([...arrivals].sort());
  // The third and the end come together.
  expect(arrivals.at(-1)).toBe("4: Closed after 3 arrivals");
  expect(arrivals.length).toBeGreaterThan(1);
  const came = card.locator('.bead[data-came="true"]');
  await expect(came).toHaveCount(4);
  await expect(came.locator(".sr")).toHaveText(["First arrival: ", "Second arrival: ", "Third arrival: ", "End: "]);
  await expect(card.getByText("from this tab")).toBeVisible();
});

test("a card unfolds the very frames as they came @js", async ({ demo }) => {
  const text = unique("on the wire");
  await demo.submit(text);
  const card = demo.card(text);
  await expect(card).toHaveAttribute("data-phase", "closed");
  await card.locator("summary").click();
  const frames = card.locator(".wire-frame");
  await expect(frames).toHaveCount(4);
  await expect(frames.first()).toHaveText(/^id: [0-9a-f-]{36}:1\ndata: \{"message":"on the wire/);
  await expect(frames.last()).toHaveText(/^id: [0-9a-f-]{36}:close\nevent: close\ndata: \{"reason":"complete"\}$/);
  await expect(card.locator(".wire-time").first()).toHaveText(/^\d\d:\d\d:\d\d\.\d{3}$/);
});

test("ten messages in one go all complete, four streams at a time @js", async ({ demo, page }) => {
  test.setTimeout(90_000);
  const texts = Array.from({ length: 10 }, (_, n) => unique(`ten ${n}`));
  await page.evaluate(async (texts) => {
    const field = document.querySelector("textarea") as HTMLTextAreaElement;
    for (const text of texts) {
      field.value = text;
      field.form?.requestSubmit();
      while (field.value !== "") await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }, texts);
  const underWay = page.locator('.card[data-phase="open"], .card[data-phase="connecting"]');
  while ((await page.locator('.card[data-phase="queued"]').count()) > 0) {
    expect(await underWay.count()).toBeLessThanOrEqual(4);
    // The page stays of use meanwhile.
    await demo.field.fill("still typing");
    await page.waitForTimeout(200);
  }
  await demo.field.fill("");
  for (const text of texts) {
    await expect(demo.card(text).locator(".card-status")).toHaveText("Closed after 3 arrivals", { timeout: 30_000 });
  }
});

test("ten messages submitted together are ten cards @js", async ({ demo, page, server }) => {
  const texts = Array.from({ length: 10 }, (_, n) => unique(`together ${n}`));
  await Promise.all(texts.map((text) => server.submit(text)));
  await expect(page.locator('.card[data-phase="queued"]').first()).toBeVisible();
  for (const text of texts) await expect(demo.card(text)).toHaveCount(1);
  for (const text of texts) await expect(demo.card(text)).toHaveAttribute("data-phase", "closed", { timeout: 30_000 });
});

test("the focus stays in the field, and the field is empty for the next @js", async ({ demo }) => {
  await demo.submit(unique("focus by keys"));
  await expect(demo.field).toBeFocused();
  await demo.field.fill(unique("focus by button"));
  await demo.send.click();
  await expect(demo.field).toHaveValue("");
  await expect(demo.field).toBeFocused();
});

test("a text is shown to the letter @js", async ({ demo }) => {
  const text = `${unique("letters")}\n  <b>bold</b> & "quotes"\n\nid: 9\ndata: no 🦀`;
  await demo.submit(text);
  await expect(demo.page.locator(".card-text").first()).toHaveText(text, { useInnerText: true });
  await expect(demo.page.locator(".card").first()).toHaveAttribute("data-phase", "closed");
});

test.describe("a message the server refuses", () => {
  test.use({ expected: /status of 422/ });

  test("is an error at the field, in the server's words, with the text kept @js", async ({ demo }) => {
    await demo.field.fill("   ");
    await demo.send.click();
    await expect(demo.field).toHaveAttribute("aria-invalid", "true");
    await expect(demo.field).toHaveAccessibleDescription(/The message is empty. Write something to send./);
    await expect(demo.field).toHaveValue("   ");
    await expect(demo.field).toBeFocused();
    const long = "x".repeat(4097);
    await demo.field.fill(long);
    await expect(demo.page.locator(".count")).toHaveText("4097 of 4096 bytes: 1 too many");
    await demo.send.click();
    await expect(demo.page.locator("#message-error")).toContainText("1 more than the 4096");
    await expect(demo.field).toHaveValue(long);
    await demo.submit(unique("at last"));
    await expect(demo.field).toHaveAttribute("aria-invalid", "false");
    await expect(demo.page.locator("#message-error")).toBeHidden();
  });

  test("is no error any more once it is mended @js", async ({ demo, page }) => {
    const error = page.locator("#message-error");
    await demo.field.fill("   ");
    await demo.send.click();
    await expect(error).toContainText("The message is empty.");
    await demo.field.pressSequentially(" a");
    await expect(error).toBeHidden();
    await expect(demo.field).toHaveAttribute("aria-invalid", "false");
    await demo.field.fill("x".repeat(4098));
    await demo.send.click();
    await expect(error).toContainText("2 more than the 4096");
    await demo.field.press("End");
    await demo.field.press("Backspace");
    await expect(error).toContainText("1 more than the 4096");
    await demo.field.press("Backspace");
    await expect(error).toBeHidden();
    await expect(demo.field).toHaveAttribute("aria-invalid", "false");
  });
});

test("each text is written in its own direction", async ({ demo, page }) => {
  const direction = (element: Element) => getComputedStyle(element).direction;
  for (const [text, expected] of [
    [`שלום, ${unique("world")}`, "rtl"],
    [`${unique("hello")}, עולם`, "ltr"],
  ] as const) {
    await demo.field.fill(text);
    expect(await demo.field.evaluate(direction)).toBe(expected);
    await demo.send.click();
    const shown = page.locator(".card-text").filter({ hasText: text });
    await expect(shown).toBeVisible();
    expect(await shown.evaluate(direction)).toBe(expected);
  }
});

test("the page does not call the messages it shows all there are", async ({ demo, page, server }) => {
  for (let n = 0; n < 51; n += 1) await server.submit(unique("to be counted"));
  await page.reload();
  await demo.hydrated();
  const count = page.locator(".activity .section-note");
  await expect(count).toHaveText(/^5\d messages shown, older ones left out$/);
  // A burst that was being watched is shown again, even if newer messages fill the page.
  const cards = await page.locator(".card").count();
  await expect(count).toContainText(`${cards} messages shown`);
});

test("bytes are counted as the server counts them @js", async ({ demo }) => {
  await demo.field.fill("é🦀");
  await expect(demo.page.locator(".count")).toHaveText("6 of 4096 bytes");
});

test("a message that came with the page rests until it is watched @js", async ({ demo, server, page }) => {
  const text = unique("at rest");
  await server.submit(text);
  await page.reload();
  await demo.hydrated();
  const card = demo.card(text);
  await expect(card).toHaveCount(1);
  if ((await card.getAttribute("data-phase")) === "idle") {
    await card.getByRole("button", { name: "Watch its burst" }).click();
  }
  await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
  await card.getByRole("button", { name: "Watch again" }).click();
  await expect(card.locator(".card-status")).toHaveText("First arrival");
  await expect(card.locator(".card-status")).toHaveText("Closed after 3 arrivals");
});
