//! The document: what was measured, what came out, and whether it is as it must be.

use std::fmt::Write;

use crate::lake::PIPELINES;
use crate::store::PAGE;
use crate::{Cell, DAYS, MARGIN, Runs, STRATEGIES, YEARS, dates_of, range_of};

/// What the strategies are called, in the order of [`STRATEGIES`].
pub(crate) const NAMES: [&str; 3] = ["guided", "paths", "listing"];
const GUIDED: usize = 0;
const PATHS: usize = 1;
pub(crate) const LISTING: usize = 2;

/// The name of a pipeline's plot.
pub(crate) fn plot_name(pipeline: usize) -> String {
    format!("discovery-{}.svg", PIPELINES[pipeline].name.to_lowercase())
}

impl Runs {
    pub(crate) fn mean(&self) -> f64 {
        self.micros.iter().sum::<u64>() as f64 / self.micros.len() as f64
    }

    /// Mean, median, least and most of time.
    fn times(&self) -> [f64; 4] {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = |index: usize| sorted[index] as f64;
        let last = sorted.len() - 1;
        let half = sorted.len() / 2;
        [
            self.mean(),
            f64::midpoint(at(last - half), at(half)),
            at(0),
            at(last),
        ]
    }

    fn least(&self) -> u64 {
        self.requests.iter().copied().min().unwrap_or(0)
    }

    fn most(&self) -> u64 {
        self.requests.iter().copied().max().unwrap_or(0)
    }

    fn mean_requests(&self) -> f64 {
        self.requests.iter().sum::<u64>() as f64 / self.requests.len() as f64
    }

    /// How many requests: one number, or two if the repetitions differ.
    fn requests(&self) -> String {
        match (self.least(), self.most()) {
            (least, most) if least == most => grouped(most),
            (least, most) => format!("{} to {}", grouped(least), grouped(most)),
        }
    }
}

impl Cell {
    /// In how few pages the range's objects fit.
    fn floor(&self) -> usize {
        self.objects.div_ceil(PAGE)
    }

    /// How many requests the guided search may need.
    fn bound(&self) -> f64 {
        1.2 * self.floor() as f64 + 3.0
    }

    fn name(&self) -> String {
        format!(
            "{}, {}, {}",
            PIPELINES[self.pipeline].name,
            plural(u64::from(self.years), "year"),
            plural(self.days, "day")
        )
    }

    /// Whether the guided search needs fewer requests, in every repetition, and less time, on
    /// average, than another.
    fn is_won_from(&self, other: usize) -> bool {
        let [guided, other] = [GUIDED, other].map(|strategy| &self.strategies[strategy]);
        guided
            .requests
            .iter()
            .zip(&other.requests)
            .all(|(one, other)| one < other)
            && guided.mean() < other.mean()
    }

    /// Why the guided search is not ahead of another strategy, if a reason is known that holds in
    /// this cell.
    fn why_not(&self, other: usize) -> Option<String> {
        let [guided, rival] = [GUIDED, other].map(|strategy| &self.strategies[strategy]);
        let is_tie = guided == rival;
        if other == PATHS {
            return (self.days == 1 && is_tie)
                .then(|| "one date is one path, and both ask for its keys and no others".into());
        }
        let pages = self.lake_objects.div_ceil(PAGE);
        if pages == 1 && is_tie {
            return Some(format!(
                "the whole lake fits one page ({} objects)",
                grouped(self.lake_objects as u64)
            ));
        }
        let is_nearly_all = 10 * self.objects >= 9 * self.lake_objects;
        (is_nearly_all && guided.mean() <= rival.mean()).then(|| {
            format!(
                "the range holds {:.0} % of the lake's objects, {} pages of {}, so there is next \
                 to nothing to leave out. \
                 The further requests are the price of listing in parallel, which takes {:.0} % \
                 of the time",
                100.0 * self.objects as f64 / self.lake_objects as f64,
                grouped(self.floor() as u64),
                grouped(pages as u64),
                100.0 * guided.mean() / rival.mean()
            )
        })
    }
}

/// What the cells amount to.
pub(crate) struct Report<'a> {
    cells: &'a [Cell],
    repetitions: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(cells: &'a [Cell], repetitions: usize) -> Self {
        Report { cells, repetitions }
    }

    /// Whether all is as it must be.
    pub(crate) fn holds(&self) -> bool {
        self.over_bound().is_empty()
            && self.aging(GUIDED).is_empty()
            && self.not_won().iter().all(|(.., why)| why.is_some())
    }

    /// Cells with more requests than the guided search may need, in any repetition.
    fn over_bound(&self) -> Vec<&Cell> {
        self.cells
            .iter()
            .filter(|cell| cell.strategies[GUIDED].most() as f64 > cell.bound())
            .collect()
    }

    /// Cells in which a strategy does not do, repetition for repetition, what it does in the
    /// youngest lake.
    fn aging(&self, strategy: usize) -> Vec<&Cell> {
        let is_other = |cell: &&Cell| {
            self.cell(cell.pipeline, YEARS[0], cell.days).strategies[strategy]
                != cell.strategies[strategy]
        };
        self.cells.iter().filter(is_other).collect()
    }

    /// Cells in which the guided search is not ahead of another strategy, which one, and why.
    fn not_won(&self) -> Vec<(&Cell, usize, Option<String>)> {
        let others = |cell: &'a Cell| (1..STRATEGIES.len()).map(move |other| (cell, other));
        let lost = self
            .cells
            .iter()
            .flat_map(others)
            .filter(|(cell, other)| !cell.is_won_from(*other));
        lost.map(|(cell, other)| (cell, other, cell.why_not(other)))
            .collect()
    }

    fn cell(&self, pipeline: usize, years: u32, days: u64) -> &Cell {
        let is_it =
            |cell: &&Cell| (cell.pipeline, cell.years, cell.days) == (pipeline, years, days);
        self.cells
            .iter()
            .find(is_it)
            .expect("every cell is measured")
    }

    /// The whole document.
    pub(crate) fn document(&self) -> String {
        let mut text = [
            self.head(),
            self.summary(),
            self.others(),
            self.conditions(),
            self.exceptions(),
        ]
        .join("\n");
        for pipeline in 0..PIPELINES.len() {
            write!(text, "\n{}", self.pipeline(pipeline)).expect("a string takes everything");
        }
        text
    }

    fn head(&self) -> String {
        let pipelines: String = PIPELINES
            .iter()
            .map(|pipeline| format!("| {} | {} |\n", pipeline.name, pipeline.about))
            .collect();
        let range = range_of(DAYS[DAYS.len() - 1]);
        let lakes: Vec<String> = YEARS
            .iter()
            .map(|years| format!("{} to {}", dates_of(*years).from(), dates_of(*years).to()))
            .collect();
        format!(
            "\
             # Finding the partitions of a range

How many requests, and how long, it takes to find the objects of a range of dates in an object \
             store. Three ways are
compared: the guided search, which asks for the keys of the range and no others; path creation \
             and check, one probe a
date; and listing everything and filtering. This file and its plots are written by the benchmark \
             itself:

```sh
cargo bench --bench discovery
```

## What is measured

The program's own search (`src/storage/search.rs`), on a simulated S3. Layout `{layout}`, files \
             `part-00000.parquet` and on.

| pipeline | files |
| --- | --- |
{pipelines}
- **Lakes** of {years} years up to {last}, and of {MARGIN} days more on both sides, so that keys \
             lie before and after every range:
  {lakes}. How many files a date has depends on a seed, the pipeline and
  the date, so a date has the same files in every lake.
- **Ranges** of {days} days up to {last}.
- **The store** gives 1,000 keys a page, in the order of bytes. Each request is a round trip, of \
             18.3 to 38.3 ms, each time as likely; one in 50,
  at random, takes 4 times as long. That is 30 ms on average. A full page and an empty one take \
             the same time.
- **Time** is of round trips alone, by a clock that only they move: requests in parallel wait at \
             the same time. What the client
  computes is not in it, and neither is the machine: the numbers are the same wherever the \
             benchmark runs.
- **Repetitions**: {repetitions} of each cell, each with its own round trips. Within a repetition \
             the nth request takes the same time
  for every strategy, so two strategies that ask the same in turn take exactly the same time.
- **Checked** in each run: the dates found, and the number of objects of each, are those that the \
             lake was made of. So all
  strategies find the same.
",
            layout = crate::LAYOUT,
            years = joined(&YEARS.map(|years| years.to_string())),
            lakes = joined(&lakes),
            days = joined(&DAYS.map(|days| days.to_string())),
            last = range.to(),
            repetitions = self.repetitions,
        )
    }

    fn summary(&self) -> String {
        let oldest = YEARS[YEARS.len() - 1];
        let mut text = format!(
            "\
             ## What came out

How many times the requests, and how many times the mean time, of the guided search the others \
             take, in the lake of {oldest} years:

| pipeline | days | objects | guided requests | paths requests | paths time | listing requests | \
             listing time |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
        );
        for cell in self.cells.iter().filter(|cell| cell.years == oldest) {
            let name = if cell.days == DAYS[0] {
                PIPELINES[cell.pipeline].name
            } else {
                ""
            };
            let [guided, paths, listing] = &cell.strategies;
            let times = |runs: &Runs| {
                let requests = ratio(runs.mean_requests() / guided.mean_requests());
                format!("{requests} | {}", ratio(runs.mean() / guided.mean()))
            };
            let objects = grouped(cell.objects as u64);
            let requests = guided.requests();
            line(
                &mut text,
                &format!(
                    "| {name} | {} | {objects} | {requests} | {} | {} |",
                    cell.days,
                    times(paths),
                    times(listing)
                ),
            );
        }
        text
    }

    /// Which of the other two strategies takes less time, and where.
    fn others(&self) -> String {
        let mut text = "\
An experiment of this kind had listing ahead of path creation on pipelines like A and C, and path \
creation ahead, by seconds, on one like B.
On this store it is not the pipeline that decides, but whether path creation needs fewer requests \
than the lake has pages. The ranges,
in days, over which it takes less time than listing:

| pipeline |"
            .to_owned();
        let columns = YEARS
            .map(|years| format!(" lake of {} |", plural(u64::from(years), "year")))
            .concat();
        line(
            &mut text,
            &format!("{columns}\n| --- |{}", " --- |".repeat(YEARS.len())),
        );
        for of_pipeline in self.cells.chunks(YEARS.len() * DAYS.len()) {
            let ahead = of_pipeline.chunks(DAYS.len()).map(|of_lake| {
                let is_ahead =
                    |cell: &&Cell| cell.strategies[PATHS].mean() < cell.strategies[LISTING].mean();
                let days: Vec<String> = of_lake
                    .iter()
                    .filter(is_ahead)
                    .map(|cell| cell.days.to_string())
                    .collect();
                if days.is_empty() {
                    "none".to_owned()
                } else {
                    days.join(", ")
                }
            });
            let ahead: Vec<String> = ahead.collect();
            line(
                &mut text,
                &format!(
                    "| {} | {} |",
                    PIPELINES[of_pipeline[0].pipeline].name,
                    ahead.join(" | ")
                ),
            );
        }
        text
    }

    /// The conditions, each with whether it holds.
    pub(crate) fn conditions(&self) -> String {
        let held = |failed: &[&Cell]| match failed {
            [] => "**yes**".to_owned(),
            cells => format!(
                "**no**: {}",
                cells
                    .iter()
                    .map(|cell| cell.name())
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
        };
        let over = self.over_bound();
        let all = self.cells.len();
        let nearest = self
            .cells
            .iter()
            .map(|cell| cell.strategies[GUIDED].most() as f64 / cell.bound())
            .fold(0.0, f64::max);
        let not_won = self.not_won();
        let unexplained = not_won.iter().filter(|(.., why)| why.is_none()).count();
        let comparisons = all * (STRATEGIES.len() - 1);
        format!(
            "\
             ## What must hold

- The guided search needs no more than 1.2 × ceil(objects / 1,000) + 3 requests, in every \
             repetition: {} of {all} cells, {}.
  The nearest to it is at {:.0} % of what it may need.
- What is outside of the range costs nothing: the guided search makes the same requests, in the \
             same time, repetition for
  repetition, in the lake of 1 year and in those of 3 and 10: {}. The same is true of path \
             creation: {}.
- Fewer requests, in every repetition, and less time, on average, than both other strategies: {} \
             of {comparisons} comparisons. The other {} are named
  below; {} of them without a reason.

The benchmark fails if one of the first two does not hold, or if a cell below has no reason.
",
            all - over.len(),
            held(&over),
            100.0 * nearest,
            held(&self.aging(GUIDED)),
            held(&self.aging(PATHS)),
            comparisons - not_won.len(),
            not_won.len(),
            if unexplained == 0 {
                "none".to_owned()
            } else {
                format!("**{unexplained}**")
            },
        )
    }

    /// The cells in which the guided search is not ahead, those with the same numbers and the same
    /// reason in one row.
    fn exceptions(&self) -> String {
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for (cell, other, why) in self.not_won() {
            let [guided, rival] = [GUIDED, other].map(|strategy| &cell.strategies[strategy]);
            let requests = format!("{} / {}", guided.requests(), rival.requests());
            let time = format!("{} / {}", millis(guided.mean()), millis(rival.mean()));
            let why = why.unwrap_or_else(|| "**no reason is known**".into());
            let row = format!("{} | {requests} | {time} | {why}", NAMES[other]);
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, names)) => names.push(cell.name()),
                None => rows.push((row, vec![cell.name()])),
            }
        }
        let mut text = "\
## Where the guided search is not ahead

| pipeline, lake, range | other strategy | requests, guided / other | mean ms, guided / other | \
why |
| --- | --- | ---: | ---: | --- |
"
        .to_owned();
        for (row, names) in rows {
            line(&mut text, &format!("| {} | {row} |", names.join("<br>")));
        }
        text
    }

    fn pipeline(&self, pipeline: usize) -> String {
        let kind = &PIPELINES[pipeline];
        let name = kind.name;
        let mut text = format!(
            "\
             ## Pipeline {name}

{about}.

![Mean time by days in the range, pipeline {name}]({plot})

The line of each strategy in the lake of {oldest} years, and paler ones of listing in the younger \
             lakes; the other two take
the same time in every lake.

Requests; `floor` is the pages that hold the range's objects, `bound` what the guided search may \
             need:

| lake | days | objects | floor | bound | guided | paths | listing |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
",
            about = capital(kind.about),
            plot = plot_name(pipeline),
            oldest = YEARS[YEARS.len() - 1],
        );
        let cells = || {
            self.cells
                .iter()
                .filter(move |cell| cell.pipeline == pipeline)
        };
        for cell in cells() {
            let counts = [cell.objects, cell.floor(), cell.bound().floor() as usize]
                .map(|count| grouped(count as u64));
            let requests = cell.strategies.each_ref().map(Runs::requests);
            line(
                &mut text,
                &format!(
                    "| {} | {} | {} | {} |",
                    lake(cell),
                    cell.days,
                    counts.join(" | "),
                    requests.join(" | ")
                ),
            );
        }
        text += "\nTime in ms:\n\n| lake | days |";
        for name in NAMES {
            write!(text, " {name}: mean | median | min | max |")
                .expect("a string takes everything");
        }
        line(
            &mut text,
            &format!("\n| --- | ---: |{}", " ---: |".repeat(4 * NAMES.len())),
        );
        for cell in cells() {
            let times: Vec<String> = cell
                .strategies
                .iter()
                .flat_map(Runs::times)
                .map(millis)
                .collect();
            line(
                &mut text,
                &format!("| {} | {} | {} |", lake(cell), cell.days, times.join(" | ")),
            );
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// What a row begins with: the lake, in the first of its rows.
fn lake(cell: &Cell) -> String {
    if cell.days == DAYS[0] {
        plural(u64::from(cell.years), "year")
    } else {
        String::new()
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn joined(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn millis(micros: f64) -> String {
    grouped((micros / 1000.0).round() as u64)
}

/// So many times as much: with a decimal where that says something.
fn ratio(times: f64) -> String {
    let decimals = if times < 10.0 { 2 } else { 0 };
    if times >= 1000.0 {
        format!("{} ×", grouped(times.round() as u64))
    } else {
        format!("{times:.decimals$} ×")
    }
}

/// A number with a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
