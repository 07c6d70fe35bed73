"use strict";
// Draws the charts of `asof report` from the JSON document of the page. Names of tables, columns and
// keys are set as text, never as HTML.
(() => {
  const root = document.documentElement;
  const report = JSON.parse(document.getElementById("report").textContent);
  const DAY = 86400000;
  const STATES = ["observed", "rewritten", "derived", "refused", "unreadable", "gap"];
  const OUTPUTS = { up_to_date: "observed", missing: "gap", stale: "rewritten", orphaned: "refused", failed: "unreadable" };
  const day = (text) => Date.parse(text + "T00:00:00Z");
  const iso = (time) => new Date(time).toISOString().slice(0, 10);
  const whole = new Intl.NumberFormat("en-US");
  const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
  const number = (value) => (value == null ? "unknown" : whole.format(value));
  const words = (name) => name.replaceAll("_", " ");
  const color = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  function size(bytes) {
    if (bytes == null) return "unknown";
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let at = 0;
    let value = bytes;
    while (value >= 1000 && at < units.length - 1) {
      value /= 1000;
      at += 1;
    }
    return (at === 0 ? whole.format(value) : value.toFixed(at < 3 ? 1 : 2)) + " " + units[at];
  }

  function element(name, text, attributes) {
    const made = document.createElement(name);
    if (text != null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    return made;
  }

  /** The content of a tooltip: a heading, and a line for each pair of name and value. */
  function tip(heading, lines) {
    const box = element("div", null, { class: "tip" });
    box.append(element("b", heading));
    for (const [name, value] of lines) {
      const line = element("span");
      line.append(element("em", name), element("span", value));
      box.append(line);
    }
    return box;
  }

  const weekday = (text) => new Date(day(text)).toLocaleDateString("en-US", { weekday: "short", timeZone: "UTC" });

  function tooltip(formatter, trigger) {
    return {
      trigger,
      confine: true,
      axisPointer: trigger === "axis" ? { type: "shadow", shadowStyle: { color: color("muted"), opacity: 0.12 } } : undefined,
      backgroundColor: color("surface"),
      borderColor: color("line"),
      textStyle: { color: color("ink") },
      transitionDuration: 0,
      formatter: (parts) => (Array.isArray(parts) && !parts.length ? "" : formatter(parts)),
    };
  }

  /** The dates of runs, each with its state. */
  function* each(runs) {
    for (const run of runs)
      for (let time = day(run.from); time <= day(run.to); time += DAY) yield [iso(time), run.state];
  }

  // Calendars.

  /** The ranges that calendars show: a year each, or on a narrow page half of one. */
  function ranges(first, last, halves) {
    if ((day(last) - day(first)) / DAY < 150) {
      const end = new Date(Date.UTC(+last.slice(0, 4), +last.slice(5, 7), 0));
      return [[first.slice(0, 8) + "01", iso(end.getTime())]];
    }
    const found = [];
    for (let year = +last.slice(0, 4); year >= +first.slice(0, 4); year -= 1) {
      const parts = halves ? [["01-01", "06-30"], ["07-01", "12-31"]] : [["01-01", "12-31"]];
      const years = parts.map(([from, to]) => [year + "-" + from, year + "-" + to]);
      found.push(...years.filter(([from, to]) => from <= last && to >= first));
    }
    return found;
  }

  function calendars(cells, states, colors, lines, width) {
    const dates = [...cells.keys()];
    const halves = width < 620;
    const shown = ranges(dates[0], dates[dates.length - 1], halves);
    const weeks = halves ? 27.5 : 53.5;
    const left = halves ? 34 : 52;
    const cell = Math.max(5, Math.min(20, Math.floor((width - left - 4) / weeks)));
    const each = cell * 7 + 34;
    const calendar = shown.map((range, at) => ({
      range,
      top: 20 + at * each,
      left,
      cellSize: cell,
      splitLine: { lineStyle: { color: color("muted"), opacity: 0.5, width: 1 } },
      itemStyle: { color: "transparent", borderColor: color("surface"), borderWidth: cell > 9 ? 2 : 1 },
      dayLabel: { firstDay: 1, nameMap: ["", "M", "", "W", "", "F", ""], color: color("muted"), fontSize: 10 },
      monthLabel: {
        color: color("muted"),
        fontSize: 10,
        formatter: (label) => label.nameMap + (halves && [1, 7].includes(+label.M) ? " " + label.yyyy : ""),
      },
      yearLabel: { show: !halves, color: color("ink"), fontSize: 12, margin: 26, fontWeight: 600 },
    }));
    const series = shown.map(([from, to], at) => ({
      type: "heatmap",
      coordinateSystem: "calendar",
      calendarIndex: at,
      data: dates.filter((date) => from <= date && date <= to).map((date) => [date, states.indexOf(cells.get(date))]),
      itemStyle: { borderColor: color("surface"), borderWidth: cell > 9 ? 2 : 1, borderRadius: 2 },
      emphasis: { itemStyle: { borderColor: color("ink") } },
    }));
    return {
      height: 20 + shown.length * each - 8,
      option: {
        animation: false,
        tooltip: tooltip(({ value: [date] }) => tip(weekday(date) + " " + date, lines(date)), "item"),
        visualMap: {
          show: false,
          type: "piecewise",
          dimension: 1,
          pieces: states.map((state, value) => ({ value, color: color(colors[state] || state) })),
        },
        calendar,
        series,
      },
    };
  }

  /** Counts of a history that has few dates over many months: a line a year, a cell a month. */
  function months(cells, states, colors, shown, width) {
    const counts = new Map();
    for (const [date, state] of cells) {
      const month = counts.get(date.slice(0, 7)) || { dates: [], worst: states.indexOf("gap") };
      if (shown(state)) {
        month.dates.push(date + (state === states[0] ? "" : " " + words(state)));
        month.worst = month.dates.length === 1 ? states.indexOf(state) : Math.max(month.worst, states.indexOf(state));
      }
      counts.set(date.slice(0, 7), month);
    }
    const all = [...counts];
    const years = [...new Set(all.map(([month]) => month.slice(0, 4)))].reverse();
    const named = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
    return {
      height: 34 + years.length * 26,
      option: {
        animation: false,
        tooltip: tooltip(({ value: [, , , at] }) => {
          const { dates } = all[at][1];
          const lines = dates.slice(0, 12).map((date) => ["", date]);
          if (dates.length > 12) lines.push(["", "and " + (dates.length - 12) + " more"]);
          return tip(all[at][0] + ": " + (dates.length === 1 ? "1 date" : dates.length + " dates"), lines);
        }, "item"),
        grid: { left: 46, right: 10, top: 24, bottom: 6 },
        xAxis: { type: "category", position: "top", data: width < 480 ? named.map((name) => name[0]).map((name, at) => name + " ".repeat(at)) : named, axisTick: { show: false }, axisLine: { show: false }, axisLabel: { color: color("muted"), fontSize: 11, interval: 0 } },
        yAxis: { type: "category", inverse: true, data: years, axisTick: { show: false }, axisLine: { show: false }, axisLabel: { color: color("ink"), fontSize: 12 } },
        visualMap: {
          show: false,
          type: "piecewise",
          dimension: 2,
          pieces: states.map((state, value) => ({ value, color: color(colors[state] || state) })),
        },
        series: [{
          type: "heatmap",
          data: all.map(([month, { worst }], at) => [+month.slice(5, 7) - 1, years.indexOf(month.slice(0, 4)), worst, at]),
          label: { show: true, fontSize: 11, color: color("mark"), formatter: ({ value: [, , , at] }) => String(all[at][1].dates.length || "") },
          itemStyle: { borderColor: color("surface"), borderWidth: 2, borderRadius: 3 },
          emphasis: { itemStyle: { borderColor: color("ink") } },
        }],
      },
    };
  }

  /** Whether a calendar would be long and nearly empty. */
  const isSparse = (count, first, last) => (day(last) - day(first)) / DAY > 400 && count * 8 < (day(last) - day(first)) / DAY;

  function coverage(table, width) {
    const cells = new Map(each(table.coverage));
    if (isSparse(table.observed, table.coverage[0].from, table.coverage[table.coverage.length - 1].to))
      return months(cells, STATES, {}, (state) => state !== "gap", width);
    const at = new Map(table.days.date.map((date, index) => [date, index]));
    return calendars(cells, STATES, {}, (date) => {
      const lines = [["state", words(cells.get(date))]];
      const index = at.get(date);
      if (index == null) return lines;
      const { rows, bytes, added, changed, removed } = table.days;
      lines.push(["rows", number(rows[index])]);
      if (bytes[index] != null) lines.push(["size", size(bytes[index])]);
      if (index > 0) lines.push(["added", number(added[index])], ["changed", number(changed[index])], ["removed", number(removed[index])]);
      return lines;
    }, width);
  }

  function outputs(job, width) {
    const dates = new Map(job.dates.map((date) => [date.date, date]));
    const cells = new Map(job.dates.map((date) => [date.date, date.state]));
    if (isSparse(job.dates.length, job.dates[0].date, job.dates[job.dates.length - 1].date))
      return months(cells, Object.keys(OUTPUTS), OUTPUTS, () => true, width);
    return calendars(cells, Object.keys(OUTPUTS), OUTPUTS, (date) => {
      const lines = [["output", words(dates.get(date).state)]];
      const reason = dates.get(date).reason;
      if (reason) lines.push(["", reason]);
      return lines;
    }, width);
  }

  // Charts over time.

  function timeline(height, left, values) {
    const axis = () => ({ axisLabel: { color: color("muted"), fontSize: 11, hideOverlap: true }, axisLine: { lineStyle: { color: color("line") } } });
    return {
      height,
      option: {
        animation: false,
        useUTC: true,
        grid: { left, right: 10, top: 12, bottom: values.length > 120 ? 58 : 26 },
        xAxis: { type: "time", ...axis(), axisTick: { lineStyle: { color: color("line") } }, min: values[0] - DAY, max: values[values.length - 1] + DAY },
        yAxis: { type: "value", ...axis(), splitLine: { lineStyle: { color: color("line") } }, splitNumber: 4 },
        dataZoom: values.length > 120
          ? [{
              type: "slider",
              height: 18,
              bottom: 8,
              borderColor: color("line"),
              fillerColor: color("accent") + "22",
              handleStyle: { color: color("surface"), borderColor: color("muted") },
              moveHandleSize: 4,
              moveHandleStyle: { color: color("muted"), opacity: 0.35 },
              emphasis: { moveHandleStyle: { color: color("accent"), opacity: 0.7 }, handleStyle: { borderColor: color("accent") } },
              dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { color: color("muted"), opacity: 0.15 } },
              selectedDataBackground: { lineStyle: { opacity: 0 }, areaStyle: { color: color("accent"), opacity: 0.25 } },
              textStyle: { color: color("muted"), fontSize: 10 },
              labelFormatter: (value) => iso(value),
              filterMode: "filter",
              minValueSpan: 7 * DAY,
            }]
          : [],
      },
    };
  }

  /** How wide a bar of a day is. */
  function barWidth(times, width) {
    const span = Math.max(1, (times[times.length - 1] - times[0]) / DAY + 2);
    const ofDay = (width - 70) / span;
    return Math.max(times.length * 5 < width ? 4 : 1, Math.min(22, ofDay * 0.8));
  }

  /** Whether few days have so many changes that the others could not be seen beside them. */
  function isSteep({ date, added, changed, removed }) {
    const sums = date.map((_, at) => Math.max((added[at] || 0) + (changed[at] || 0), removed[at] || 0)).filter((sum) => sum > 0);
    sums.sort((one, other) => one - other);
    return sums.length > 4 && sums[sums.length - 1] > 12 * sums[Math.floor(sums.length * 0.8)];
  }

  function changes(table, width, figure) {
    const { date, added, changed, removed } = table.days;
    const times = date.map(day);
    const chart = timeline(250, 52, times);
    const steep = isSteep(table.days);
    const scale = (value) => (steep ? Math.sqrt(value) : value);
    figure.querySelector(".scale").hidden = !steep;
    // Each part of a bar reaches from where the one below ends, on whichever scale.
    const bars = (name, height) => ({
      name,
      type: "bar",
      stack: "changes",
      barWidth: barWidth(times, width),
      itemStyle: { color: color(name) },
      data: times.map((time, at) => [time, added[at] == null ? null : height(at) || null]),
    });
    Object.assign(chart.option, {
      tooltip: tooltip((parts) => {
        const at = parts[0].dataIndex;
        return tip(weekday(date[at]) + " " + date[at], [
          ["added", number(added[at])],
          ["changed", number(changed[at])],
          ["removed", number(removed[at])],
          ["compared with", at > 0 ? date[at - 1] : "nothing before"],
        ]);
      }, "axis"),
      series: [
        bars("added", (at) => scale(added[at])),
        bars("changed", (at) => scale(added[at] + changed[at]) - scale(added[at])),
        bars("removed", (at) => -scale(removed[at])),
      ],
    });
    chart.option.yAxis.axisLabel.formatter = (value) => short.format(steep ? value * value : Math.abs(value));
    return chart;
  }

  function rows(table) {
    const { date, rows } = table.days;
    const times = date.map(day);
    const chart = timeline(210, 52, times);
    Object.assign(chart.option, {
      tooltip: tooltip((parts) => {
        const at = parts[0].dataIndex;
        return tip(weekday(date[at]) + " " + date[at], [["rows", number(rows[at])]]);
      }, "axis"),
      series: [{
        type: "line",
        step: "end",
        showSymbol: times.length < 60,
        symbolSize: 5,
        lineStyle: { width: 1.8 },
        itemStyle: { color: color("observed") },
        areaStyle: { color: color("observed"), opacity: 0.1 },
        data: times.map((time, at) => [time, rows[at]]),
      }],
    });
    chart.option.tooltip.axisPointer = { type: "line", lineStyle: { color: color("muted") } };
    chart.option.yAxis.scale = true;
    chart.option.yAxis.axisLabel.formatter = (value) => short.format(value);
    return chart;
  }

  function bytes(table, width) {
    const { date, bytes } = table.days;
    const pruned = table.days.pruned_bytes || [];
    const times = date.map(day);
    const chart = timeline(210, 62, times);
    const bars = (name, values, look) => ({
      name,
      type: "bar",
      stack: "bytes",
      barWidth: barWidth(times, width / 2),
      itemStyle: look,
      data: times.map((time, at) => [time, values[at] ?? null]),
    });
    const series = [bars("snapshot", bytes, { color: color("observed") })];
    if (pruned.length) series.push(bars("pruned", pruned, { color: color("derived") }));
    Object.assign(chart.option, {
      tooltip: tooltip((parts) => {
        const at = parts[0].dataIndex;
        const lines = [bytes[at] == null ? ["snapshot", "none"] : ["snapshot", size(bytes[at])]];
        if (pruned[at] != null) lines.push(["saved by pruning", size(pruned[at])]);
        return tip(weekday(date[at]) + " " + date[at], lines);
      }, "axis"),
      series,
    });
    chart.option.yAxis.axisLabel.formatter = size;
    return chart;
  }

  /** Every table by month: the share of its dates that are observed. */
  function overview(width) {
    const months = new Map();
    const tables = report.tables.filter((table) => table.coverage.length);
    tables.forEach((table, row) => {
      for (const [date, state] of each(table.coverage)) {
        const key = date.slice(0, 7) + row;
        const month = months.get(key) || { month: date.slice(0, 7), row, days: 0, there: 0, bad: 0 };
        month.days += 1;
        month.there += ["observed", "rewritten", "derived"].includes(state) ? 1 : 0;
        month.bad += ["refused", "unreadable"].includes(state) ? 1 : 0;
        months.set(key, month);
      }
    });
    const all = [...months.values()];
    const sorted = [...new Set(all.map((month) => month.month))].sort();
    const names = [];
    for (let time = sorted[0]; time <= sorted[sorted.length - 1];) {
      names.push(time);
      const [year, month] = [+time.slice(0, 4), +time.slice(5, 7)];
      time = iso(Date.UTC(year, month, 1)).slice(0, 7);
    }
    const level = ({ there, bad, days }) => (bad ? 4 : there === days ? 3 : there === 0 ? 0 : there * 2 >= days ? 2 : 1);
    const channels = (name) => [1, 3, 5].map((at) => parseInt(color(name).slice(at, at + 2), 16));
    const [full, none] = [channels("observed"), channels("gap")];
    const mix = (share) => "rgb(" + full.map((value, at) => Math.round((value * share + none[at] * (100 - share)) / 100)).join() + ")";
    const left = Math.min(180, 20 + 7 * Math.max(...tables.map((table) => table.table.length)), width * 0.36);
    return {
      height: 34 + tables.length * 22,
      option: {
        animation: false,
        tooltip: tooltip(({ value: [month, , , at] }) => tip(tables[all[at].row].table + ", " + month, [
          ["dates with rows", all[at].there + " of " + all[at].days],
          ...(all[at].bad ? [["refused or unreadable", String(all[at].bad)]] : []),
        ]), "item"),
        grid: { left, right: 10, top: 4, bottom: 28 },
        xAxis: { type: "category", data: names, axisTick: { show: false }, axisLine: { lineStyle: { color: color("line") } }, axisLabel: { color: color("muted"), fontSize: 11, hideOverlap: true } },
        yAxis: { type: "category", inverse: true, data: tables.map((table) => table.table), axisTick: { show: false }, axisLine: { show: false }, axisLabel: { color: color("ink"), fontSize: 12, width: left - 12, overflow: "truncate" } },
        visualMap: {
          show: false,
          type: "piecewise",
          dimension: 2,
          pieces: [color("gap"), mix(35), mix(70), color("observed"), color("unreadable")].map((color, value) => ({ value, color })),
        },
        series: [{
          type: "heatmap",
          data: all.map((month, at) => [month.month, month.row, level(month), at]),
          itemStyle: { borderColor: color("surface"), borderWidth: 1.5, borderRadius: 2 },
          emphasis: { itemStyle: { borderColor: color("ink") } },
        }],
      },
    };
  }

  // The table of a chart has every date, where the page without scripts has months.

  function fill(table, columns, rows) {
    const head = element("tr");
    columns.forEach((name) => head.append(element("th", name)));
    const body = element("tbody");
    for (const row of rows) {
      const line = element("tr");
      row.forEach((value) => line.append(element("td", value)));
      body.append(line);
    }
    const top = element("thead");
    top.append(head);
    table.replaceChildren(top, body);
  }

  const dated = (table, values) => table.days.date.map((date, at) => [date, ...values.map(([column, show]) => show(column[at]))]).reverse();
  const TABLES = {
    changes: ({ days }) => [["date", "added", "changed", "removed"], [[days.added, number], [days.changed, number], [days.removed, number]]],
    rows: ({ days }) => [["date", "rows"], [[days.rows, number]]],
    bytes: ({ days }) => days.pruned_bytes
      ? [["date", "snapshot", "saved by pruning"], [[days.bytes, (value) => (value == null ? "" : size(value))], [days.pruned_bytes, (value) => (value == null ? "" : size(value))]]]
      : [["date", "snapshot"], [[days.bytes, (value) => (value == null ? "" : size(value))]]],
  };

  const CHARTS = { coverage, changes, rows, bytes, outputs, overview };
  const drawn = new Map();

  function draw(figure) {
    const plot = figure.querySelector(".plot");
    const { chart: kind, of } = figure.dataset;
    const width = plot.clientWidth;
    if (!width) return;
    const subject = kind === "outputs" ? report.jobs[of] : report.tables[of];
    const { height, option } = kind === "overview" ? overview(width) : CHARTS[kind](subject, width, figure);
    plot.style.height = height + "px";
    let chart = drawn.get(figure);
    if (chart) chart.resize({ width, height });
    else {
      chart = echarts.init(plot, null, { renderer: "svg", width, height });
      drawn.set(figure, chart);
    }
    chart.setOption(option, { notMerge: true });
    chart.getZr().refreshImmediately();
    figure.dataset.drawn = width;
  }

  const figures = [...document.querySelectorAll("[data-chart]")];
  const visible = new IntersectionObserver((entries) => {
    for (const entry of entries)
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }, { rootMargin: "300px" });

  for (const figure of figures) {
    visible.observe(figure);
    const buttons = [...figure.querySelectorAll(".switch button")];
    for (const button of buttons)
      button.addEventListener("click", () => {
        figure.dataset.view = button.value;
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        const details = figure.querySelector(".as-table");
        details.open = true;
        const { chart: kind, of } = figure.dataset;
        if (TABLES[kind] && details.dataset.by === "month") {
          const [columns, values] = TABLES[kind](report.tables[of]);
          fill(details.querySelector("table"), columns, dated(report.tables[of], values));
          details.dataset.by = "date";
        }
        if (button.value === "chart") draw(figure);
      });
  }

  const redraw = () => [...drawn.keys()].forEach(draw);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const figure of drawn.keys())
        if (+figure.dataset.drawn !== figure.querySelector(".plot").clientWidth) draw(figure);
    }, 120);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
    redraw();
  });
  name();

  const parts = [...document.querySelectorAll("details.part")];
  const all = document.getElementById("all");
  if (all)
    all.addEventListener("click", () => {
      const opens = parts.some((part) => !part.open);
      for (const part of parts) part.open = opens;
      all.textContent = opens ? "Close all" : "Open all";
    });
  const open = () => {
    const part = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (part instanceof HTMLDetailsElement) {
      part.open = true;
      part.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();

  // Paper is light, and as wide as it is. What is open is printed.
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    document.body.classList.add("paper");
    figures.forEach(draw);
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    document.body.classList.remove("paper");
    redraw();
  });
})();
