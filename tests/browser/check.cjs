// Opens a page of `asof report` in Chromium, and prints what is wrong with it as a JSON list.
// node check.cjs PAGE, with ASOF_TEST_CHROMIUM and ASOF_TEST_BROWSER
"use strict";
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require(path.join(process.env.ASOF_TEST_BROWSER, "node_modules", "playwright-core"));

const wrong = [];
const expect = (is, what) => { if (!is) wrong.push(what); };
const number = (value) => (value == null ? "unknown" : new Intl.NumberFormat("en-US").format(value));

/** Opens the page, and notes whatever it asks for or complains of. */
async function opened(browser, url, options) {
  const page = await (await browser.newContext(options)).newPage();
  page.on("console", (message) => wrong.push("console: " + message.text()));
  page.on("pageerror", (error) => wrong.push("error: " + error.message));
  page.on("dialog", (dialog) => { wrong.push("dialog: " + dialog.message()); dialog.dismiss(); });
  page.on("request", (request) => { if (request.url() !== url) wrong.push("request: " + request.url()); });
  await page.goto(url);
  return page;
}

/** Opens all parts, and shows each chart once. */
async function draw(page) {
  await page.evaluate(() => document.querySelectorAll("details.part").forEach((part) => { part.open = true; }));
  for (const figure of await page.locator("[data-chart]").all()) {
    await figure.scrollIntoViewIfNeeded();
    await figure.locator(".plot svg").waitFor({ timeout: 30000 });
  }
}

/** Moves the mouse to a value of a chart, and gives the text of the tooltip once it names a date. */
async function tooltip(page, figure, finder, value, date) {
  const plot = figure.locator(".plot");
  await plot.scrollIntoViewIfNeeded();
  const at = await plot.evaluate((element, [finder, value]) => echarts.getInstanceByDom(element).convertToPixel(finder, value), [finder, value]);
  const box = await plot.boundingBox();
  await page.mouse.move(0, 0);
  await page.mouse.move(box.x + at[0], box.y + at[1], { steps: 3 });
  const tip = plot.locator(".tip", { hasText: date });
  await tip.waitFor({ timeout: 30000 });
  return tip.innerText();
}

async function numbers(page, report) {
  for (const [at, table] of report.tables.entries()) {
    const { date, added, changed, removed, rows } = table.days;
    const of = (chart) => page.locator(`[data-chart="${chart}"][data-of="${at}"]`);
    const changes = of("changes");
    if (await changes.count()) {
      for (const at of [date.length - 1, Math.floor(date.length / 2), 0]) {
        const text = await tooltip(page, changes, { seriesIndex: 0 }, [Date.parse(date[at]), 0], date[at]);
        for (const part of [date[at], number(added[at]), number(changed[at]), number(removed[at]), date[at - 1] || "nothing before"])
          expect(text.includes(part), `${table.table}: the tooltip of changes lacks ${part}: ${text}`);
      }
      await changes.locator("button[value=table]").click();
      expect(!(await changes.locator(".plot").isVisible()), "the chart is still there beside its table");
      const cells = await changes.locator("tbody tr").evaluateAll((lines) => lines.map((line) => [...line.children].map((cell) => cell.textContent)));
      const told = date.map((date, at) => [date, number(added[at]), number(changed[at]), number(removed[at])]).reverse();
      expect(JSON.stringify(cells) === JSON.stringify(told), `${table.table}: the table of changes is ${JSON.stringify(cells)}`);
      await changes.locator("button[value=chart]").click();
      expect(await changes.locator(".plot svg").isVisible(), "the chart does not come back");
    }
    if (await of("rows").count()) {
      await of("rows").locator("button[value=table]").click();
      const first = await of("rows").locator("tbody tr").first().innerText();
      expect(first.includes(number(rows[rows.length - 1])), `${table.table}: the table of rows begins with ${first}`);
    }
  }
  const calendar = page.locator('[data-chart="coverage"]').first();
  const [run] = report.tables[0].coverage.slice(-1);
  const isByDay = await calendar.locator(".plot").evaluate((plot) => (echarts.getInstanceByDom(plot).getOption().calendar || []).length > 0);
  const text = await tooltip(page, calendar, { seriesIndex: 0 }, isByDay ? run.to : [+run.to.slice(5, 7) - 1, 0], run.to);
  expect(text.includes(run.to) && (!isByDay || text.includes(run.state)), `the tooltip of the calendar: ${text}`);
}

(async () => {
  const url = pathToFileURL(path.resolve(process.argv[2])).href;
  // Root has no sandbox.
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: process.env.ASOF_TEST_CHROMIUM, args });
  for (const [width, colorScheme] of [[1280, "light"], [390, "dark"]]) {
    const page = await opened(browser, url, { viewport: { width, height: 900 }, colorScheme });
    const report = JSON.parse(await page.locator("#report").textContent());
    await draw(page);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide <= width, `at ${width} pixels, the page is ${wide} wide`);
    await numbers(page, report);
    await page.locator("#theme").click();
    const theme = await page.evaluate(() => document.documentElement.dataset.theme);
    expect(theme === (colorScheme === "dark" ? "light" : "dark"), `the theme is ${theme}`);
    if (width > 1000) {
      const paper = await page.pdf({ format: "A4", printBackground: true });
      expect(paper.length > 20000, `on paper the page has ${paper.length} bytes`);
    }
    expect(await page.evaluate(() => globalThis.injected === undefined), "a name was run as a script");
    await page.context().close();
  }
  const plain = await opened(browser, url, { javaScriptEnabled: false });
  const tables = plain.locator(".as-table");
  expect((await tables.count()) > 0, "there is no table without scripts");
  expect(await tables.first().locator("summary").isVisible(), "the table cannot be opened without scripts");
  await browser.close();
  console.log(JSON.stringify(wrong));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
